"""Verify: what is stored, held against what the events say, each kind of document by a check of its own."""
