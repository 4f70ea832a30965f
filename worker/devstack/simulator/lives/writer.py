"""Writes the events of one life, one after the other, each with its moment, its id, and when it is published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from worker.contract.families import PRODUCERS_TYPES
from worker.contract.family import Inlet
from worker.devstack.simulator.ledger import ExpectedDocument
from worker.devstack.simulator.spelling import new_event_id, rfc_3339

# Events that wait somewhere before they are published, so that they arrive behind what came after them.
LATE_SHARE = 0.06
LATE_HOURS = (1.0, 40.0)

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventRef:
    """An event that was written, as documents name it: which one, of what type, and when it happened."""

    event_id: UUID
    event_type: str
    at: datetime

    def claim(self) -> dict[str, Any]:
        """Which event it was, and when, for what is somebody's, or was made, by it."""
        return {"event_id": self.event_id, "at": self.at}

    def without_effect(self, reason: str) -> dict[str, Any]:
        """What a document says of events from which nothing followed, where this one is the only one."""
        named = {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "occurred_at": self.at,
            "reason": reason,
        }
        return {"total": 1, "reasons": {reason: 1}, "latest": [named]}


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One event of the platform's: where it comes in, its fields as a producer writes them, when it is published.

    `after_term`: its service was away, and publishes it when the learners' events have all been published.
    """

    inlet: Inlet
    fields: Fields
    published_at: datetime
    after_term: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """What happens to something: the events that tell of it, and the documents that must follow from them."""

    events: Sequence[PlatformEvent]
    documents: Sequence[ExpectedDocument]


class EventWriter:
    """The events of one life in their order, at strictly increasing moments; the same for the same generator."""

    def __init__(
        self, random: Random, producer: str, begins_at: datetime, *, after_term: bool = False
    ) -> None:
        self.random = random
        self.at = begins_at
        self.events: list[PlatformEvent] = []
        self._producer = producer
        self._after_term = after_term

    def wait(self, **times: float) -> None:
        """Let time pass, as `timedelta` takes it."""
        self.at += timedelta(**times)

    def wait_until(self, at: datetime) -> None:
        """Let time pass until then, unless it is later already."""
        self.at = max(self.at, at)

    def write(self, event_type: str, ids: Mapping[str, str], details: Fields | None = None) -> EventRef:
        """The next event, some minutes after the one before. Its stream follows from `ids`."""
        self.at += timedelta(milliseconds=self.random.randint(30_000, 600_000))
        event = EventRef(new_event_id(self.random), event_type, self.at)
        fields: dict[str, Any] = {
            "event_id": str(event.event_id),
            "event_type": event_type,
            "occurred_at": rfc_3339(self.at),
            "producer": self._producer,
            **ids,
        }
        if details is not None:
            fields["details"] = details
        inlet = PRODUCERS_TYPES.by_name[event_type].inlet
        published_at = self.at + self._delay()
        self.events.append(PlatformEvent(inlet, fields, published_at, self._after_term))
        return event

    def _delay(self) -> timedelta:
        late = self.random.random() < LATE_SHARE
        hours, milliseconds = self.random.uniform(*LATE_HOURS), self.random.randint(50, 5_000)
        return timedelta(hours=hours) if late else timedelta(milliseconds=milliseconds)
