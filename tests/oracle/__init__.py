"""A second opinion: judges what the worker stored from a producer's ledger; imports nothing of what it judges."""

from tests.oracle.check import check
from tests.oracle.ledger import Entry, Kind, read_ledger, write_ledger

__all__ = ["Entry", "Kind", "check", "read_ledger", "write_ledger"]
