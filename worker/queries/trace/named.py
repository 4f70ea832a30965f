"""What a trace is asked about, and what a record's bytes say of it, whether they are a valid event or not."""

from typing import Any
from uuid import UUID

import orjson
from bson import ObjectId

from worker.errors import Refused
from worker.kafka.record import Partition, Record

Place = tuple[Partition, int]
"""A record by its partition and offset."""


class NotTraceable(Refused):
    """What was asked for is neither an event's id nor a record's place."""


def parse_asked(text: str) -> UUID | Place:
    """An event id, or a record as `topic:partition:offset`. Raises `NotTraceable` for anything else."""
    where, _, offset = text.rpartition(":")
    topic, _, number = where.rpartition(":")
    if topic and number.isdecimal() and offset.isdecimal():
        return Partition(topic, int(number)), int(offset)
    try:
        return UUID(text)
    except ValueError:
        raise NotTraceable(
            f"{text!r} is neither an event id (a UUID) nor a record's place (topic:partition:offset)"
        ) from None


def event_id_in(record: Record | None) -> UUID | None:
    """The event id in a record's bytes."""
    named = _fields_of(record).get("event_id")
    try:
        return UUID(named) if isinstance(named, str) else None
    except ValueError:
        return None


def user_in(record: Record | None) -> ObjectId | None:
    """The learner's id in a record's bytes."""
    named = _fields_of(record).get("user_id")
    return ObjectId(named) if isinstance(named, str) and ObjectId.is_valid(named) else None


def _fields_of(record: Record | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(record.value or b"") if record is not None else None
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}
