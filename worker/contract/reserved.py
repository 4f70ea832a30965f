"""Ids that belong to nobody: the canary's learners and its course. Whoever counts, notifies or bills leaves them out.

An ObjectId that a program makes begins with the time. These begin with the first second of 1970, and the word that
follows says whose they are, so that nobody ever gets one by chance.
"""

from datetime import UTC, datetime
from typing import Final

from bson import ObjectId

from worker.contract.identity import stream_id

RESERVED: Final = "0000000043414e415259"
"""How every reserved id begins: four bytes of zeros, then CANARY in ASCII. Two bytes are left to tell them apart."""

CANARY_COURSE: Final = ObjectId(f"{RESERVED}0000")
CANARY_LESSON: Final = ObjectId(f"{RESERVED}0001")

_IN_STREAM: Final = f"_{RESERVED}"
_FIRST_DAY: Final = datetime(1970, 1, 1, tzinfo=UTC)

NOT_RESERVED: Final = {"stream_id": {"$not": {"$regex": _IN_STREAM}}}
"""The filter of MongoDB that leaves out the documents of reserved streams, and of nothing else."""


def canary_learner(at: datetime) -> ObjectId:
    """The canary's learner of the UTC day in which `at` lies: another one each day, until the year 2149."""
    days = (at.astimezone(UTC) - _FIRST_DAY).days
    return ObjectId(f"{RESERVED}{days:04x}")


def canary_stream(at: datetime) -> str:
    """The canary's stream of that day."""
    return stream_id(CANARY_COURSE, canary_learner(at))


def is_reserved(stream: object) -> bool:
    """Whether a stream is named by a reserved id, of whatever kind; False for what is no stream's name."""
    return isinstance(stream, str) and _IN_STREAM in stream
