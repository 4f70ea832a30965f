"""How identifiers are derived: the same stream gives the same ids and slot on every machine, for ever."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid5

from bson import ObjectId

from worker.contract.family import LEARNER

SLOTS = 256

# Fixed once and for all: changing it would give stored holes a second identity.
_VOID_NAMESPACE = UUID("6f1d9c1e-7b0a-5c55-9d51-3b7f4f0f7a70")
_OPENING_NAMESPACE = UUID("0c9e8f52-4a1d-5f0e-8a37-2f6c1b7d9e41")
_MIGRATION_NAMESPACE = UUID("b3a1d7c2-58e4-5d0b-9c6f-71e2a90d4f13")


# The kinds of streams, by what they are about. Every stream that moved is asked for its kind: one look, no parts.
_KINDS = (
    LEARNER,
    ("course",),
    ("user",),
    ("content",),
    ("block",),
    ("relationship",),
    ("workflow",),
    ("transaction",),
    ("promotion",),
)
_STREAM = re.compile("|".join(f"({'_'.join(f'{each}_[0-9a-f]{{24}}' for each in kind)})" for kind in _KINDS))


def stream_id(course_id: ObjectId | str, user_id: ObjectId | str) -> str:
    """The stream of a learner in a course."""
    return f"course_{course_id}_user_{user_id}"


def stream_kind(stream: str) -> tuple[str, ...] | None:
    """What a stream is about, `("course", "user")` for a learner's; None for a text that names no stream.

    Known are `course_<id>_user_<id>`, and `course_<id>`, `user_<id>`, `content_<id>` and so on of one entity each,
    ids in small letters.
    """
    found = _STREAM.fullmatch(stream)
    return None if found is None or found.lastindex is None else _KINDS[found.lastindex - 1]


def parse_stream_id(stream: str) -> dict[str, ObjectId] | None:
    """The entities a stream is about, `{course_id, user_id}` for a learner's; None for no stream's name."""
    kind = stream_kind(stream)
    if kind is None:
        return None
    ids = stream.split("_")[1::2]
    return {f"{entity}_id": ObjectId(value) for entity, value in zip(kind, ids, strict=True)}


@lru_cache(maxsize=65_536)
def _digest(stream: str) -> bytes:
    return hashlib.sha1(stream.encode(), usedforsecurity=False).digest()


def stream_object_id(stream: str) -> ObjectId:
    """`_id` of a stream's document: of a stream about one entity (a course, a user ...) that entity's own id.

    Of every other one, a learner's first of all, the first 12 bytes of the SHA-1.
    """
    entities = parse_stream_id(stream) if "_user_" not in stream else None
    if entities is not None and len(entities) == 1:
        return next(iter(entities.values()))
    return ObjectId(_digest(stream)[:12])


def stream_slot(stream: str) -> int:
    """Slot 0-255 of a stream: the last byte of the SHA-1, independent of the bytes used in ids."""
    return _digest(stream)[19]


def foreign_object_id(original: str) -> ObjectId:
    """ObjectId for an identifier of another vocabulary: the first 12 bytes of its SHA-1."""
    return ObjectId(hashlib.sha1(original.encode(), usedforsecurity=False).digest()[:12])


def void_event_id(stream: str, version: int) -> UUID:
    """`_id` of the event that fills a hole: everyone who fills the same hole makes the same id."""
    return uuid5(_VOID_NAMESPACE, f"{stream}:{version}")


def opening_event_id(stream: str, version: int) -> UUID:
    """`_id` of the event that says what an adopted record was."""
    return uuid5(_OPENING_NAMESPACE, f"{stream}:{version}")


def failure_fingerprint(*parts: str | None) -> str:
    """One value per kind of failure, so that a thousand of one bug are one line for an operator."""
    return hashlib.sha256("|".join(part or "" for part in parts).encode()).hexdigest()[:16]


def migration_event_id(
    course_id: ObjectId | str, version: str | None, at: datetime, user_id: ObjectId | str
) -> UUID:
    """`event_id` of a learner's `curriculum_migrated`: one for each time that a version of the course takes effect.

    The moment is part of it: a course that goes back to a version is migrated to it a second time.
    """
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return uuid5(
        _MIGRATION_NAMESPACE, f"{course_id}:{'' if version is None else version}:{milliseconds}:{user_id}"
    )
