"""Verify: what is stored is compared with what the events say. `run.verify` has the checks in their order.

A file `*_check` reads and reports; a file `*_audit` decides, in pure functions, what is wrong with what was read.
"""
