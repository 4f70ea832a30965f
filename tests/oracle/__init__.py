"""A second opinion: checks what the worker did from a producer's ledger; imports nothing of what it checks.

At rest, ten invariants hold:

1. every acknowledged record has exactly one outcome: stored, duplicate, conflict or dead letter
2. `course_events` is the ledger's ok set: none missing, none extra, none twice, bodies equal
3. versions per stream are 1 to n, for keyed producers in the order of the partition
4. `user_interactions` is, as a multiset, a function of `course_events`; every multiplicity is 1
5. progress documents are an independently written fold over `course_events`
6. `user_progress_projections`, `courses.stats`, `users.stats`: recomputed from the progress documents
7. notifications and billing rows are those required, once each; the receiver saw each key, repeats only after crashes
8. dead letters are the ledger's poison and conflicts: exact bytes, expected reason, nothing healthy
9. queue items completed or failed, committed offset = end, lags 0, consumed = sum of outcomes
10. no secret in any log, metric, or word about a failure

`python -m tests.oracle --help` checks from the command line; `check` from a test.
"""

from tests.oracle.case import Delivery, Evidence, Log, LogRecord
from tests.oracle.check import ALL, check
from tests.oracle.finding import Finding
from tests.oracle.ledger import Entry, Kind, acknowledge, read_ledger, write_ledger

__all__ = [
    "ALL",
    "Delivery",
    "Entry",
    "Evidence",
    "Finding",
    "Kind",
    "Log",
    "LogRecord",
    "acknowledge",
    "check",
    "read_ledger",
    "write_ledger",
]
