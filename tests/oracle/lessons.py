"""The lesson entries of a progress document, from all events of a stream at once (docs/projections.md, "Lessons")."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from tests.oracle.decimals import cut, milliseconds, rounded
from tests.oracle.reported import (
    KNOWN_TYPES,
    PLAYER,
    Event,
    at,
    details,
    earliest_at,
    latest,
    of,
    sha1,
    time_ms,
)

WHOLE = 10_000
"""Hundredths of a percent."""
COUNTED = 5_000
"""Lessons that count; those with an entry are fewer."""
_LESSONS = 1_000
_NOTES = 200


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson and all events of known types that name it."""

    lesson_id: ObjectId
    events: Sequence[Event]

    @property
    def percentage(self) -> int:
        """In hundredths."""
        if of(self.events, "complete"):
            return WHOLE
        return max((_reached(event) for event in of(self.events, *PLAYER)), default=0)

    @property
    def full_at(self) -> datetime | None:
        """The full moment, None below 100 %."""
        saying = [event for event in of(self.events, *PLAYER) if _reached(event) == WHOLE]
        return earliest_at([*of(self.events, "complete"), *saying])

    @property
    def grade(self) -> int | None:
        graded = latest(of(self.events, "assignment_graded"))
        return None if graded is None else rounded(graded["event_data"]["value"], 100)

    @property
    def note(self) -> str | None:
        written = [event for event in of(self.events, "lesson_note_saved") if _text(event) is not None]
        last = latest(written)
        return None if last is None else _text(last)

    @property
    def started_at(self) -> datetime:
        return min(map(at, self.events))


def lessons_of(events: Iterable[Event]) -> Sequence[Lesson]:
    """Every lesson that was touched, capped by nothing yet."""
    found: dict[ObjectId, list[Event]] = defaultdict(list)
    for event in events:
        lesson_id = event["event_data"].get("lesson_id")
        if lesson_id is not None and event["event_type"] in KNOWN_TYPES:
            found[lesson_id].append(event)
    return [Lesson(lesson_id, own) for lesson_id, own in found.items()]


def kept(lessons: Iterable[Lesson], most: int = _LESSONS) -> Sequence[Lesson]:
    """Those with the smallest hashes."""
    return sorted(lessons, key=lambda lesson: sha1(str(lesson.lesson_id)))[:most]


def lesson_entries(lessons: Sequence[Lesson]) -> list[Mapping[str, Any]]:
    """`lesson_progress`, of all lessons that were touched."""
    noted = {lesson.lesson_id for lesson in kept((each for each in lessons if each.note is not None), _NOTES)}
    shown = sorted(kept(lessons), key=lambda lesson: (lesson.started_at, str(lesson.lesson_id)))
    return [_entry(lesson, noted=lesson.lesson_id in noted) for lesson in shown]


def _entry(lesson: Lesson, *, noted: bool) -> Mapping[str, Any]:
    completions = of(lesson.events, "complete")
    return {
        "lesson_id": lesson.lesson_id,
        "status": "completed" if completions else "in_progress",
        "progress_percentage": lesson.percentage / 100,
        "time_spent": time_ms(lesson.events) / 1000,
        "attempts": len(of(lesson.events, "lesson_started")),
        "started_at": lesson.started_at,
        "completed_at": earliest_at(completions),
        "quiz_results": _quiz(of(lesson.events, "quiz_submitted")),
        "assignment_grade": None if lesson.grade is None else lesson.grade / 100,
        "notes": lesson.note if noted else None,
    }


def _quiz(attempts: Sequence[Event]) -> Mapping[str, Any] | None:
    last = latest(attempts)
    if last is None:
        return None
    said = details(last)
    taken_ms = milliseconds(said.get("time_taken"))
    return {
        "score": rounded(said["score"], 100) / 100,
        "total_questions": said.get("total_questions"),
        "correct_answers": said.get("correct_answers"),
        "time_taken": None if taken_ms is None else taken_ms / 1000,
        "attempts": len(attempts),
    }


def _reached(event: Event) -> int:
    return cut(details(event).get("progress") or 0, WHOLE)


def _text(event: Event) -> str | None:
    text: str | None = event["personal"].get("text")
    return text
