"""Contests: documents that ask for what only one of them can have, decided with all that they contend with."""
