"""Which job brought an event: a header of its record, kept with the event as `metadata.origin`.

An event with an origin is history: whoever folds it, nobody is notified of what it reaches.
"""

import re
from collections.abc import Iterable

HEADER = "sevenp-origin"
"""Name of the record header that carries the name of the job, as `backfill`."""

_NAME = re.compile(rb"[a-z][a-z0-9-]{0,62}")


def origin_header(job: str) -> tuple[str, bytes]:
    """The header of records that `job` publishes."""
    return HEADER, job.encode("ascii")


def origin_of(headers: Iterable[tuple[str | bytes, bytes | None]]) -> str | None:
    """The job that a record's headers name, None for a record of a live producer.

    What is no name of a job says nothing: the event then counts as one that came as it happened.
    """
    for name, value in headers:
        if name == HEADER and value is not None and _NAME.fullmatch(value):
            return value.decode("ascii")
    return None
