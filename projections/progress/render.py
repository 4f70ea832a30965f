"""The visible fields of a progress document, from the fold's state alone: one integer division per number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.progress.apply import FULL
from projections.progress.curricula import (
    Lessons,
    current,
    done_moments,
    has_left,
    least_size,
    total_of,
)
from projections.progress.ranked import milliseconds_of, moment_of
from projections.progress.state import (
    FULL_LESSONS,
    LESSONS_CAP,
    MORE_LESSONS,
    SESSIONS_CAP,
    LessonState,
    State,
    latest,
)
from projections.quantity import mean
from projections.shared import SharingArray

Document = dict[str, Any]


def visible_fields(state: State) -> Document:
    """Every field readers see, except the milestones (they need to know who folds)."""
    last_at, enrolled, rating = state["last_at"], state["enrolled"], state["rating"]
    opened, curriculum = state.get("opened"), current(state)
    return {
        "status": "active" if enrolled is None or enrolled["v"] else "dropped",
        "progress": _progress(state, curriculum),
        "time_tracking": _time_tracking(state),
        "lesson_progress": _lessons(state, curriculum),
        "performance": _performance(state),
        "social": dict(state["social"]),
        "rating": None if rating is None else {"value": rating["v"] / 100, "rated_at": rating["at"]},
        "certificates": _certificates(state),
        "payment_data": _payment(state),
        "enrollment_date": state["enrolled_at"] or state["first_at"],
        "last_accessed": last_at if opened is None else latest(opened["last_accessed"], last_at),
        "created_at": state["first_at"],
        "updated_at": last_at if opened is None else latest(opened["updated_at"], last_at),
    }


def completed_at(state: State) -> datetime | None:
    """When the course was completed, None if it is not.

    The earliest of the first report of 100 %, the moment the number of lessons at 100 % reached the smallest total
    that an enrolment named without a list, and the moment all lessons of one of the learner's curricula were done;
    what an adopted record says of it counts beside them. Further events never take it back.
    """
    opened, least = state.get("opened"), state["least_total"]
    said = (state["reported_full_at"], opened and opened["completed_at"])
    moments = [moment for moment in said if moment is not None]
    moments += done_moments(state)
    if least is not None and lessons_done(state) >= least:
        full = sorted(at_ms for at_ms, _ in FULL_LESSONS.records(state["full"]))
        unnamed = [] if opened is None else [milliseconds_of(opened["at"])] * opened["unnamed"]
        moments.append(moment_of(sorted([*full, *unnamed])[least - 1]))
    return min(moments, default=None)


def percentage_before(state: State, at: datetime, completed: datetime | None) -> float:
    """The share of the course's lessons that were at 100 % before a moment; 100 if it was `completed` by then.

    Of parts of lessons, and of reports below 100, only the latest standing is known, not what it was at a time. An
    adopted record was at its percentage when it was adopted.
    """
    first, least, opened = state["first_at"], least_size(state), state.get("opened")
    if first is None or first >= at:
        return 0.0
    if completed is not None and completed < at:
        return FULL / 100
    before = opened if opened is not None and opened["at"] < at else None
    known = 0 if before is None else before["percentage"]
    if least is None:
        return known / 100
    at_ms = milliseconds_of(at)
    done = sum(full_ms < at_ms for full_ms, _ in FULL_LESSONS.records(state["full"]))
    done += 0 if before is None else before["unnamed"]
    return max(known, min(FULL - 1, FULL * done // least)) / 100


def lessons_done(state: State) -> int:
    """The number of lessons at 100 %, with those that an adopted record counts and does not list."""
    return FULL_LESSONS.size(state["full"]) + _unnamed(state)


def _unnamed(state: State) -> int:
    opened = state.get("opened")
    return 0 if opened is None else opened["unnamed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the lessons that count amount to: `done` are at 100 %, `completed` those of them that an event completed.

    `parts` are the hundredths of the others that were touched. `total` is the number of all, where it is known.
    """

    total: int | None
    done: int
    completed: int
    parts: Sequence[int]

    @property
    def share(self) -> int:
        """In hundredths of a percent below 100, whatever was reported."""
        of = self.done + len(self.parts) if self.total is None else self.total
        return min(FULL - 1, (FULL * self.done + sum(self.parts)) // of if of else 0)


def standing(state: State, lessons: Lessons | None) -> Standing:
    """Of a curriculum whose number of lessons counts, its lessons alone; else all lessons that were touched."""
    total, unnamed = total_of(state, lessons), _unnamed(state)
    touched = state["lessons"].items()
    if lessons is None or len(lessons.places) != total:
        parts = [lesson["hundredths"] for _, lesson in touched if lesson["hundredths"] < FULL]
        if state["more"]:
            parts += [reached for (reached,) in MORE_LESSONS.records(state["more"]) if reached < FULL]
        completed = FULL_LESSONS.last_bytes(state["full"]).count(1)
        return Standing(total, lessons_done(state), completed + unnamed, parts)
    known, ranks = lessons.places, lessons.ranks
    parts = [each["hundredths"] for key, each in touched if each["hundredths"] < FULL and key in known]
    if state["more"]:
        more = MORE_LESSONS.items(state["more"])
        parts += [reached for rank, (reached,) in more if reached < FULL and rank in ranks]
    full: list[int] = []
    if state["full"]:
        full = [said for rank, (_, said) in FULL_LESSONS.items(state["full"]) if rank in ranks]
    return Standing(total, len(full) + unnamed, full.count(1) + unnamed, parts)


def lessons_share(state: State) -> int:
    """What the lessons amount to, in hundredths of a percent below 100, whatever was reported."""
    return standing(state, current(state)).share


def _progress(state: State, curriculum: Lessons | None) -> Document:
    stands = standing(state, curriculum)
    current_lesson, opened = state["current_lesson"], state.get("opened")
    return {
        **({} if opened is None else opened["carried"].get("progress", {})),
        "percentage": _percentage(state, stands) / 100,
        "completed_lessons": stands.completed,
        "total_lessons": stands.total,
        "current_lesson_id": None if current_lesson is None else current_lesson["v"],
        "basis": "observed" if stands.total is None else "curriculum",
    }


def _percentage(state: State, stands: Standing) -> int:
    """Hundredths of a percent. 100 % is reached by a report or by enough lessons, never by rounding.

    An adopted record's percentage counts like a report; lessons move it once they amount to more than they did then.
    """
    reported, opened = state["reported"] or 0, state.get("opened")
    if stands.total is not None and stands.done >= stands.total:
        return FULL
    share = stands.share
    if opened is None:
        return max(reported, share)
    return max(reported, opened["percentage"], share if share > opened["lessons"] else 0)


def _time_tracking(state: State) -> Document:
    spans = [(span["last"] - span["first"]) for span in state["sessions"].values()]
    lengths_ms = [(span.days * 86_400 + span.seconds) * 1000 + span.microseconds // 1000 for span in spans]
    opened, last_at = state.get("opened"), state["last_at"]
    before = (
        (0, 0, 0) if opened is None else (opened["sessions"], opened["sessions_ms"], opened["longest_ms"])
    )
    number = before[0] + len(lengths_ms)
    return {
        "total_seconds": state["time_ms"] / 1000,
        "session_count": before[0] + _session_count(state),
        "average_session_duration": mean(before[1] + sum(lengths_ms), number) / 1000 if number else 0.0,
        "longest_session": max([before[2], *lengths_ms]) / 1000,
        "last_activity": last_at if opened is None else latest(opened["last_activity"], last_at),
    }


def _session_count(state: State) -> int:
    """Exact up to the cap; beyond it estimated from how densely the smallest keys lie (k minimum values).

    Source of the formula: Bar-Yossef et al., "Counting distinct elements in a data stream", 2002; the form
    (k - 1) / (k-th smallest value) is the unbiased one.
    """
    sessions = state["sessions"]
    if not state["sessions_over"]:
        return len(sessions)
    widest = int(max(sessions), 16)
    return max(SESSIONS_CAP + 1, ((SESSIONS_CAP - 1) << 64) // max(widest, 1))


def _lessons(state: State, curriculum: Lessons | None) -> list[Document]:
    """In the order of the curriculum; what is in none of it behind, in the order of beginning."""
    ordered = sorted(state["lessons"].items(), key=lambda each: (each[1]["started_at"], each[0]))
    if curriculum is None:
        return [_entry(state, key, lesson) for key, lesson in ordered]
    places, untouched = curriculum.places, curriculum.untouched
    own: dict[int, Document] = {}
    others: list[Document] = []
    for key, lesson in ordered:
        place = places.get(key)
        if place is not None:
            own[place] = _entry(state, key, lesson)
        elif _is_shown(state, curriculum, key, lesson):
            others.append(_entry(state, key, lesson))
    too_many = len(places) - len(own) + len(ordered) - LESSONS_CAP
    if too_many <= 0:
        return SharingArray(untouched, own, others)
    left = [place for place in range(len(places)) if place not in own][:-too_many]
    entries = {**own, **{place: untouched.entries[place] for place in left}}
    return [*(entries[place] for place in sorted(entries)), *others]


def _is_shown(state: State, curriculum: Lessons, key: str, lesson: LessonState) -> bool:
    """A lesson that has left the curriculum leaves the record, unless it was done."""
    return lesson["hundredths"] == FULL or not has_left(state, curriculum, key)


def _entry(state: State, key: str, lesson: LessonState) -> Document:
    notes = state["notes"]
    return _lesson(key, lesson, notes[key]["v"] if key in notes else None)


def _lesson(key: str, lesson: LessonState, notes: str | None) -> Document:
    grade = lesson["grade"]
    return {
        "lesson_id": ObjectId(key),
        "status": "in_progress" if lesson["completed_at"] is None else "completed",
        "progress_percentage": lesson["hundredths"] / 100,
        "time_spent": lesson["time_ms"] / 1000,
        "attempts": lesson["attempts"],
        "started_at": lesson["started_at"],
        "completed_at": lesson["completed_at"],
        "quiz_results": _quiz_results(lesson),
        "assignment_grade": None if grade is None else grade["v"] / 100,
        "notes": notes,
    }


def _quiz_results(lesson: LessonState) -> Document | None:
    if lesson["quiz"] is None:
        return None
    attempt = lesson["quiz"]["v"]
    return {
        "score": attempt["score"] / 100,
        "total_questions": attempt["total_questions"],
        "correct_answers": attempt["correct_answers"],
        "time_taken": None if attempt["time_ms"] is None else attempt["time_ms"] / 1000,
        "attempts": lesson["quizzes"],
    }


def _performance(state: State) -> Document:
    grades = [lesson["grade"]["v"] for lesson in state["lessons"].values() if lesson["grade"] is not None]
    quizzes, opened = state["quizzes"], state.get("opened")
    if opened is not None and opened["grade"] is not None:
        grades.append(opened["grade"])
    return {
        **({} if opened is None else opened["carried"].get("performance", {})),
        "quiz_average": mean(state["quiz_sum"], quizzes) / 100 if quizzes else None,
        "assignment_average": mean(sum(grades), len(grades)) / 100 if grades else None,
    }


def _payment(state: State) -> Document | None:
    return None if state["payment"] is None else dict(state["payment"]["v"])


def _certificates(state: State) -> list[Document]:
    ordered = sorted(state["certificates"].items(), key=lambda each: (each[1]["at"], each[1]["id"]))
    return [
        {
            "_id": ObjectId(key),
            "type": issued["v"]["type"],
            "issued_at": issued["at"],
            "certificate_url": issued["v"]["url"],
            "verification_code": issued["v"]["code"],
            "valid_until": issued["v"]["valid_until"],
        }
        for key, issued in ordered
    ]
