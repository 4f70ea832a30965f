"""Values for the tests of ingest's pure parts: records, events in them, and what was stored."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from bson import ObjectId

from worker.contract.event import Event
from worker.contract.source import Source
from worker.ingest.record import Candidate
from worker.kafka.record import Record

TOPIC = "interaction-events"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COURSE = ObjectId("5f1d7f3e9d1c4b0001a0c001")
LEARNER = ObjectId("5f1d7f3e9d1c4b0001a0d001")
_IDS = UUID("00000000-0000-4000-8000-000000000000")


def event_id(number: int) -> UUID:
    return uuid5(_IDS, str(number))


def event(number: int = 1, content: str = "a", **fields: Any) -> Event:
    """A minimal event; `content` stands for everything the fingerprint covers."""
    return Event(
        **{
            "event_id": event_id(number),
            "event_type": "view",
            "occurred_at": NOON,
            "user_id": LEARNER,
            "course_id": COURSE,
            "fingerprint": content.encode().ljust(32, b"."),
            "details": {},
            **fields,
        }
    )


def source(offset: int, partition: int = 0) -> Source:
    return Source(TOPIC, partition, offset)


def record(offset: int = 0, value: bytes | None = b"{}", partition: int = 0, **fields: Any) -> Record:
    return Record(
        **{"source": source(offset, partition), "timestamp": NOON, "key": None, "value": value, **fields}
    )


def candidate(number: int, offset: int, content: str = "a", **fields: Any) -> Candidate:
    """The record at `offset` holds event `number`."""
    return Candidate(record(offset), event(number, content, **fields))
