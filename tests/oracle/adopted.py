"""What an adopted record adds to its stream's events (docs/projections.md, "Adopted records")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from tests.oracle.decimals import cut, rounded
from tests.oracle.reported import MIGRATED, Event, of, order, real
from tests.oracle.stored import OPENING

WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Adopted:
    """The last opening event of a stream; its record counts as of its moment."""

    event: Event

    @property
    def record(self) -> Mapping[str, Any]:
        record: Mapping[str, Any] = self.event["event_data"]["details"]["record"]
        return record

    @property
    def at(self) -> datetime:
        at: datetime = self.event["occurred_at"]
        return at

    @property
    def percentage(self) -> int:
        percentage: float = self.record["progress"]["percentage"]
        return cut(percentage, 100)

    @property
    def unnamed(self) -> int:
        """Completed lessons that the record counts and does not list."""
        completed: int = self.record["progress"]["completed_lessons"]
        return max(
            0, completed - sum(each["completed_at"] is not None for each in self.record["lesson_progress"])
        )

    @property
    def moments(self) -> frozenset[datetime | None]:
        """When a milestone may have been reached by the record, or by an event that it does not have."""
        lessons = (each["completed_at"] for each in self.record["lesson_progress"])
        own = (self.record["enrollment_date"], self.record["completed_at"], self.at)
        copies = self.event["event_data"]["details"].get("uncounted", [])
        return frozenset([*own, *lessons, *(each["occurred_at"] for each in copies)])

    @property
    def grade(self) -> int | None:
        """The average of assignments, where no lesson of the record has a grade."""
        average = self.record["performance"]["assignment_average"]
        graded = any(each["assignment_grade"] is not None for each in self.record["lesson_progress"])
        return None if graded or average is None else rounded(average, 100)

    @property
    def quiz_scores(self) -> list[int]:
        """The average, as often as there were attempts, once at least."""
        average = self.record["performance"]["quiz_average"]
        quizzes = [each["quiz_results"] for each in self.record["lesson_progress"] if each["quiz_results"]]
        attempts = max(1, sum(each["attempts"] for each in quizzes))
        return [] if average is None else [rounded(average, 100)] * attempts

    def note(self, lesson: ObjectId) -> str | None:
        text: str | None = self.event["personal"]["texts"].get(str(lesson))
        return text

    def stands(self, event: Event | None, since: datetime | None = None) -> bool:
        """Whether what the record says, as of its moment or another, is later than this event."""
        return event is None or order(event) < (since or self.at, self.event["_id"].bytes)


def adopted_in(events: Sequence[Event]) -> Adopted | None:
    """The record that was adopted last; `events` are in the order of their versions."""
    openings = [event for event in events if event["event_type"] == OPENING]
    return Adopted(openings[-1]) if openings else None


def counting(events: Sequence[Event]) -> Sequence[Event]:
    """The learner's events that count: all, or those that an adopted record does not have."""
    return [event for event in _counting(events) if event["event_type"] != MIGRATED]


def migrations(events: Sequence[Event]) -> Sequence[Event]:
    """Those of the course that count."""
    return of(_counting(events), MIGRATED)


def _counting(events: Sequence[Event]) -> Sequence[Event]:
    adopted = adopted_in(events)
    if adopted is None:
        return real(events)
    details, texts = adopted.event["event_data"]["details"], adopted.event["personal"]["texts"]
    until = details.get("counted_until")
    later = [event for event in real(events) if event["version"] > adopted.event["version"]]
    copies = [
        {**copy, "personal": {"text": texts.get(str(copy["_id"]))}} for copy in details.get("uncounted", [])
    ]
    return [*copies, *(event for event in later if until is None or event["occurred_at"] > until)]
