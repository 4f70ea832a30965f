"""Writes the events of one life, one after the other, each with its moment, its id, and when it is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from worker.contract.families import PRODUCERS_TYPES
from worker.contract.family import Inlet

LATE_SHARE = (
    0.06  # events that wait somewhere before they are published, and arrive behind what came after them
)
LATE_HOURS = (1.0, 40.0)

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """That an event said something: when, and which one."""

    at: datetime
    event_id: UUID

    def moment(self) -> dict[str, Any]:
        """As documents name the event by which somebody claims, or something is made."""
        return {"at": self.at, "event_id": self.event_id}


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One event of the platform's: where it comes in, its fields as a producer writes them, when it is published.

    `afterwards`: its service was away, and publishes it when the learners' events have all been published.
    """

    inlet: Inlet
    fields: Fields
    published_at: datetime
    afterwards: bool = False


class Writer:
    """The events of one life in their order, at strictly increasing moments; the same for the same generator."""

    def __init__(
        self, random: Random, producer: str, begins_at: datetime, *, afterwards: bool = False
    ) -> None:
        self.random = random
        self.at = begins_at
        self.events: list[PlatformEvent] = []
        self._producer = producer
        self._afterwards = afterwards

    def wait(self, **times: float) -> None:
        """Let time pass, as `timedelta` takes it."""
        self.at += timedelta(**times)

    def wait_until(self, at: datetime) -> None:
        """Let time pass until then, unless it is later already."""
        self.at = max(self.at, at)

    def say(self, event_type: str, ids: Mapping[str, str], details: Fields | None = None) -> Said:
        """The next event, some minutes after the one before. Its stream follows from `ids`."""
        self.at += timedelta(milliseconds=self.random.randint(30_000, 600_000))
        return self._write(event_type, ids, details)

    def say_at(
        self, at: datetime, event_type: str, ids: Mapping[str, str], details: Fields | None = None
    ) -> Said:
        """An event at exactly this moment, from which time goes on."""
        self.at = at
        return self._write(event_type, ids, details)

    def _write(self, event_type: str, ids: Mapping[str, str], details: Fields | None) -> Said:
        event_id = new_event_id(self.random)
        fields: dict[str, Any] = {
            "event_id": str(event_id),
            "event_type": event_type,
            "occurred_at": written(self.at),
            "producer": self._producer,
            **ids,
        }
        if details is not None:
            fields["details"] = details
        inlet = PRODUCERS_TYPES.by_name[event_type].inlet
        published_at = self.at + self._delay()
        self.events.append(PlatformEvent(inlet, fields, published_at, self._afterwards))
        return Said(self.at, event_id)

    def _delay(self) -> timedelta:
        late = self.random.random() < LATE_SHARE
        hours, milliseconds = self.random.uniform(*LATE_HOURS), self.random.randint(50, 5_000)
        return timedelta(hours=hours) if late else timedelta(milliseconds=milliseconds)


def new_event_id(random: Random) -> UUID:
    """An id of version 4, from a generator."""
    return UUID(int=random.getrandbits(128), version=4)


def written(at: datetime) -> str:
    """A moment as producers write it, with milliseconds."""
    return at.isoformat(timespec="milliseconds")


def refused(said: Said, event_type: str, reason: str) -> dict[str, Any]:
    """`without_effect` of a document that names this one event, and why nothing followed from it."""
    named = {"event_id": said.event_id, "event_type": event_type, "occurred_at": said.at, "reason": reason}
    return {"total": 1, "reasons": {reason: 1}, "latest": [named]}
