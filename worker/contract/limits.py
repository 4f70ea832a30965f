"""How large a record may be, and how far its event may lie ahead."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a record may be, and how far its event may lie ahead of the record."""

    max_record_bytes: int = 256 * 1024  # a change event with two images must stay below MongoDB's 16 MB
    max_future: timedelta = timedelta(hours=24)  # a wrong time zone is forgiven, a wrong year is not
    max_details_bytes: int = 64 * 1024
    max_details_depth: int = 16
    max_details_keys: int = 256  # over all nested objects


DEFAULT_LIMITS: Final = Limits()

WHOLE_COURSES: Final = Limits(
    max_record_bytes=1_000_000,  # brokers take 1 MiB with what Kafka adds, unless told otherwise
    max_details_bytes=900_000,
    max_details_keys=60_000,
)
"""For events that hold a course's whole curriculum, or all of a lesson. How far they may lie ahead is a setting."""

ALL_LESSONS: Final = Limits(max_details_bytes=96 * 1024)
"""For events of the worker's own that name all lessons of a course: 5,000 ids of 12 bytes are 80,000 letters."""
