"""The canary's events as values: how one is made, which of them wait to be seen, and which can be seen. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from bson import ObjectId

from worker.contract.codec import encode, record_key
from worker.contract.identity import stream_object_id
from worker.contract.reserved import CANARY_COURSE, CANARY_LESSON, canary_learner, canary_stream
from worker.kafka.files import OutgoingRecord

PRODUCER: Final = "sevenp-worker canary"


@dataclass(frozen=True, slots=True)
class CanaryEvent:
    """An event of the canary, made at this moment of monotonic time."""

    event_id: UUID
    stream: str
    made_at: float
    record: OutgoingRecord

    @property
    def document_id(self) -> ObjectId:
        """`_id` of the document in which it becomes visible."""
        return stream_object_id(self.stream)


def canary_event(event_id: UUID, at: datetime, made_at: float) -> CanaryEvent:
    """The event that happens at `at`: the learner of the day looks at the one lesson there is.

    However many of them there are, the document does not grow: each says the same of the same lesson.
    """
    value = encode(
        {
            "event_id": event_id,
            "event_type": "lesson_view",
            "occurred_at": at,
            "user_id": canary_learner(at),
            "course_id": CANARY_COURSE,
            "lesson_id": CANARY_LESSON,
            "producer": PRODUCER,
        }
    )
    return CanaryEvent(event_id, canary_stream(at), made_at, OutgoingRecord(value, record_key(value)))


@dataclass(slots=True)
class Waiting:
    """The events that nobody has seen yet, the oldest first; at `most` so many."""

    most: int
    _events: dict[UUID, CanaryEvent] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> tuple[CanaryEvent, ...]:
        """All of them."""
        return tuple(self._events.values())

    def add(self, event: CanaryEvent) -> CanaryEvent | None:
        """One more; returns the oldest where that has to go for it."""
        self._events[event.event_id] = event
        return self._events.pop(next(iter(self._events))) if len(self._events) > self.most else None

    def remove(self, events: Iterable[CanaryEvent]) -> None:
        """These are seen."""
        for each in events:
            self._events.pop(each.event_id, None)

    def clear(self) -> None:
        """Somebody else looks for the canary now."""
        self._events.clear()

    @property
    def oldest_at(self) -> float | None:
        """When the oldest of them was made, by monotonic time."""
        return next((each.made_at for each in self._events.values()), None)


@dataclass(slots=True)
class Outage:
    """Why the canary does not get through, and what was seen of its events since that was told.

    Events that waited are seen in several lots, however long each took: what is told at the end is about all of them.
    """

    reason: str
    events: int = 0
    longest_s: float = 0.0

    def saw(self, ages_s: Sequence[float]) -> None:
        """These are visible at last, so long after they were made."""
        self.events += len(ages_s)
        self.longest_s = max(self.longest_s, *ages_s)


def visible(
    events: Iterable[CanaryEvent], stored: Mapping[UUID, int], shown: Mapping[ObjectId, int]
) -> list[CanaryEvent]:
    """Those of the events whose documents have come to them.

    `stored` are the versions of stored events by id, `shown` those of documents by `_id`.
    """
    return [
        each
        for each in events
        if (version := stored.get(each.event_id)) is not None and shown.get(each.document_id, 0) >= version
    ]


def versions_in(documents: Iterable[Mapping[str, Any]]) -> dict[Any, int]:
    """The versions of documents by `_id`; one without a version, which somebody else wrote, is left out."""
    return {each["_id"]: version for each in documents if isinstance(version := each.get("version"), int)}
