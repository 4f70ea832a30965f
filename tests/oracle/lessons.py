"""The lesson entries of a progress document, from all events of a stream at once (docs/projections.md, "Lessons")."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from tests.oracle.adopted import Adopted
from tests.oracle.curricula import Curriculum, with_untouched
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
    """One lesson and all events of known types that name it; what a record said of it that was adopted, if any."""

    lesson_id: ObjectId
    events: Sequence[Event]
    adopted: Adopted | None = None
    before: Mapping[str, Any] | None = None

    @property
    def percentage(self) -> int:
        """In hundredths."""
        if of(self.events, "complete"):
            return WHOLE
        known = cut(self.before["progress_percentage"], 100) if self.before else 0
        return max((known, *(_reached(event) for event in of(self.events, *PLAYER))))

    @property
    def full_at(self) -> datetime | None:
        """The full moment, None below 100 %."""
        saying = [event for event in of(self.events, *PLAYER) if _reached(event) == WHOLE]
        known = self.before if self.before and cut(self.before["progress_percentage"], 100) == WHOLE else None
        since = (known["completed_at"] or self.adopted.at) if known and self.adopted else None
        return _earlier(earliest_at([*of(self.events, "complete"), *saying]), since)

    @property
    def completed_at(self) -> datetime | None:
        known = self.before["completed_at"] if self.before else None
        return _earlier(earliest_at(of(self.events, "complete")), known)

    @property
    def grade(self) -> int | None:
        graded = latest(of(self.events, "assignment_graded"))
        if self.adopted and self.before and self.adopted.stands(graded):
            known = self.before["assignment_grade"]
            if known is not None:
                return rounded(known, 100)
        return None if graded is None else rounded(graded["event_data"]["value"], 100)

    @property
    def note(self) -> str | None:
        written = [event for event in of(self.events, "lesson_note_saved") if _text(event) is not None]
        last = latest(written)
        known = self.adopted.note(self.lesson_id) if self.adopted and self.before else None
        if known is not None and self.adopted and self.adopted.stands(last):
            return known
        return None if last is None else _text(last)

    @property
    def started_at(self) -> datetime:
        moments = [*map(at, self.events)]
        if self.before:
            moments.append(self.before["started_at"])
        return min(moments)


def lessons_of(events: Iterable[Event], adopted: Adopted | None = None) -> Sequence[Lesson]:
    """Every lesson that was touched, capped by nothing yet."""
    known = {each["lesson_id"]: each for each in adopted.record["lesson_progress"]} if adopted else {}
    found: dict[ObjectId, list[Event]] = defaultdict(list, {lesson_id: [] for lesson_id in known})
    for event in events:
        lesson_id = event["event_data"].get("lesson_id")
        if lesson_id is not None and event["event_type"] in KNOWN_TYPES:
            found[lesson_id].append(event)
    return [Lesson(lesson_id, own, adopted, known.get(lesson_id)) for lesson_id, own in found.items()]


def kept(lessons: Iterable[Lesson], most: int = _LESSONS) -> Sequence[Lesson]:
    """Those with the smallest hashes."""
    return sorted(lessons, key=lambda lesson: sha1(str(lesson.lesson_id)))[:most]


def lesson_entries(lessons: Sequence[Lesson], curricula: Sequence[Curriculum]) -> list[Mapping[str, Any]]:
    """`lesson_progress`, of all lessons that were touched, and of the curricula that the learner was given."""
    noted = {lesson.lesson_id for lesson in kept((each for each in lessons if each.note is not None), _NOTES)}
    shown = sorted(kept(lessons), key=lambda lesson: (lesson.started_at, str(lesson.lesson_id)))
    entries = [_entry(lesson, noted=lesson.lesson_id in noted) for lesson in shown]
    return with_untouched(entries, curricula, _LESSONS)


def _entry(lesson: Lesson, *, noted: bool) -> Mapping[str, Any]:
    before: Mapping[str, Any] = lesson.before or {"time_spent": 0, "attempts": 0}
    return {
        "lesson_id": lesson.lesson_id,
        "status": "in_progress" if lesson.completed_at is None else "completed",
        "progress_percentage": lesson.percentage / 100,
        "time_spent": (rounded(before["time_spent"], 1000) + time_ms(lesson.events)) / 1000,
        "attempts": before["attempts"] + len(of(lesson.events, "lesson_started")),
        "started_at": lesson.started_at,
        "completed_at": lesson.completed_at,
        "quiz_results": _quiz(lesson),
        "assignment_grade": None if lesson.grade is None else lesson.grade / 100,
        "notes": lesson.note if noted else None,
    }


def _quiz(lesson: Lesson) -> Mapping[str, Any] | None:
    attempts = of(lesson.events, "quiz_submitted")
    last, known = latest(attempts), (lesson.before or {}).get("quiz_results")
    number = len(attempts) + (known["attempts"] if known else 0)
    if known and lesson.adopted and lesson.adopted.stands(last):
        return {**known, "attempts": number}
    if last is None:
        return None
    said = details(last)
    taken_ms = milliseconds(said.get("time_taken"))
    return {
        "score": rounded(said["score"], 100) / 100,
        "total_questions": said.get("total_questions"),
        "correct_answers": said.get("correct_answers"),
        "time_taken": None if taken_ms is None else taken_ms / 1000,
        "attempts": number,
    }


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _reached(event: Event) -> int:
    return cut(details(event).get("progress") or 0, WHOLE)


def _text(event: Event) -> str | None:
    text: str | None = event["personal"].get("text")
    return text
