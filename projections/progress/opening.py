"""What an opening event does: the state becomes that of a record that somebody else kept until then.

The event holds the record in the worker's own words (`OpeningRecord`), so that any later version of the fold can read
it. Whatever is in the stream before the event is in the record, but for events of which the opening holds copies.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, cast

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.event import StoredEvent
from projections.progress.apply import FULL, apply_event
from projections.progress.curricula import keep_named
from projections.progress.document import (
    Certificate,
    Count,
    LessonProgress,
    Percent,
    Performance,
    Rating,
    TimeTracking,
    absent,
)
from projections.progress.ranked import lesson_rank, milliseconds_of
from projections.progress.render import lessons_share
from projections.progress.state import (
    CERTIFICATES_CAP,
    FULL_LESSONS,
    LESSONS_CAP,
    MORE_LESSONS,
    NOTES_CAP,
    EnrolmentPayment,
    IssuedCertificate,
    LessonState,
    Opened,
    QuizAttempt,
    Register,
    Social,
    State,
    admit,
    empty_state,
    keep_last,
)
from projections.quantity import hundredths, hundredths_reached, thousandths

Document = Mapping[str, Any]

CARRIED: Mapping[str, tuple[str, ...]] = {
    "progress": ("estimated_completion_date",),
    "performance": ("engagement_score", "consistency_score", "skills_progress"),
}
"""What of a record no event moves: it is shown as it was."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class OpeningProgress(_Shape):
    """The record's progress through the course."""

    percentage: Percent
    completed_lessons: Count
    total_lessons: Count | None
    current_lesson_id: ObjectId | None
    estimated_completion_date: datetime = Field(default_factory=absent)


class OpeningRecord(_Shape):
    """`event_data.details.record` of an opening event: a learner's record as the worker shows it.

    Notes stand apart, in `personal.texts`, by the hex of their lesson.
    """

    status: Literal["active", "dropped"]
    progress: OpeningProgress
    time_tracking: TimeTracking
    lesson_progress: list[LessonProgress]
    performance: Performance
    social: Social
    rating: Rating | None
    certificates: list[Certificate]
    payment_data: EnrolmentPayment | None
    completed_at: datetime | None
    enrollment_date: datetime | None
    last_accessed: datetime
    created_at: datetime
    updated_at: datetime


def opened_state(before: State, event: StoredEvent) -> State:
    """The state of the record that an opening event holds. `before`, the state until then, is left alone.

    Payments have rows of their own, by their transactions: those named before stay counted. So do lists of lessons.
    1. plain fields  2. lessons and notes  3. registers and certificates  4. what no event says
    """
    record = event.details["record"]
    state = _plain(record)  # 1
    state["payments_named"] = before["payments_named"]
    ordered = sorted(record["lesson_progress"], key=lambda lesson: lesson_rank(str(lesson["lesson_id"])))
    for place, lesson in enumerate(ordered):  # 2
        _add_lesson(state, lesson, event, has_entry=place < LESSONS_CAP)
    _add_notes(state, event)
    _add_registers(state, record, event)  # 3
    opened = _opened(state, record, event)  # 4
    state["opened"] = opened
    state["opened"] = {**opened, "lessons": lessons_share(state)}
    keep_named(state, before)
    return state


def apply_uncounted(state: State, event: StoredEvent) -> None:
    """Take the events that came before an opening event and are not in its record: it holds copies of them."""
    named = state["payments_named"]
    for copy in event.details.get("uncounted", ()):
        text = event.texts.get(str(copy["_id"]))
        personal = {} if text is None else {"text": text}
        apply_event(state, StoredEvent.from_document({**copy, "personal": personal}))
    state["payments_named"] = named  # it counts the events themselves


def _plain(record: Document) -> State:
    state, total = empty_state(), record["progress"]["total_lessons"]
    attempts = sum(
        each["quiz_results"]["attempts"] for each in record["lesson_progress"] if each["quiz_results"]
    )
    average, social = record["performance"]["quiz_average"], record["social"]
    quizzes = 0 if average is None else max(1, attempts)
    return {
        **state,
        "first_at": record["created_at"],
        "enrolled_at": record["enrollment_date"],
        "least_total": total,
        "time_ms": thousandths(record["time_tracking"]["total_seconds"]),
        "quizzes": quizzes,
        "quiz_sum": quizzes * hundredths(average or 0),
        "social": cast("Social", dict(social)),
    }


def _register(event: StoredEvent, value: Any, at: datetime | None = None) -> Register[Any]:
    """What the record says, as of the opening's moment, or of one that the record names."""
    return Register(at=event.occurred_at if at is None else at, id=event.event_id.bytes, v=value)


def _add_lesson(state: State, lesson: Document, event: StoredEvent, *, has_entry: bool) -> None:
    key, reached = str(lesson["lesson_id"]), hundredths_reached(lesson["progress_percentage"])
    completed_at, grade, quiz = lesson["completed_at"], lesson["assignment_grade"], lesson["quiz_results"]
    rank = lesson_rank(key)
    if reached == FULL:
        at_ms = milliseconds_of(completed_at or event.occurred_at)
        state["full"] = FULL_LESSONS.put(state["full"], rank, at_ms, int(completed_at is not None))
    if not has_entry:
        state["more"] = MORE_LESSONS.put(state["more"], rank, reached)
        return
    state["lessons"][key] = LessonState(
        started_at=lesson["started_at"],
        hundredths=reached,
        time_ms=thousandths(lesson["time_spent"]),
        attempts=lesson["attempts"],
        completed_at=completed_at,
        quizzes=quiz["attempts"] if quiz else 0,
        quiz=_register(event, _attempt(quiz)) if quiz else None,
        grade=None if grade is None else _register(event, hundredths(grade)),
    )


def _attempt(results: Document) -> QuizAttempt:
    taken = results["time_taken"]
    return QuizAttempt(
        score=hundredths(results["score"]),
        total_questions=results["total_questions"],
        correct_answers=results["correct_answers"],
        time_ms=None if taken is None else thousandths(taken),
    )


def _add_notes(state: State, event: StoredEvent) -> None:
    lessons = {str(each["lesson_id"]) for each in event.details["record"]["lesson_progress"]}
    for key in sorted(lessons & event.texts.keys()):
        if admit(state["notes"], key, NOTES_CAP, lesson_rank):
            state["notes"][key] = _register(event, event.texts[key])


def _add_registers(state: State, record: Document, event: StoredEvent) -> None:
    progress, rating, payment = record["progress"], record["rating"], record["payment_data"]
    total, current = progress["total_lessons"], progress["current_lesson_id"]
    state["enrolled"] = _register(event, record["status"] == "active")
    state["total"] = None if total is None else _register(event, total)
    state["current_lesson"] = None if current is None else _register(event, current)
    state["payment"] = None if payment is None else _register(event, dict(payment))
    if rating is not None:
        state["rating"] = _register(event, hundredths(rating["value"]), rating["rated_at"])
    for each in record["certificates"]:
        issued = IssuedCertificate(
            code=each["verification_code"],
            url=each["certificate_url"],
            type=each["type"],
            valid_until=each["valid_until"],
        )
        state["certificates"][str(each["_id"])] = _register(event, issued, each["issued_at"])
        keep_last(state["certificates"], CERTIFICATES_CAP)


def _opened(state: State, record: Document, event: StoredEvent) -> Opened:
    progress, times, performance = record["progress"], record["time_tracking"], record["performance"]
    named = FULL_LESSONS.last_bytes(state["full"]).count(1)
    graded = any(each["grade"] is not None for each in state["lessons"].values())
    average = performance["assignment_average"]
    return Opened(
        at=event.occurred_at,
        counted_until=event.details.get("counted_until"),
        percentage=hundredths_reached(progress["percentage"]),
        lessons=0,
        unnamed=max(0, progress["completed_lessons"] - named),
        sessions=times["session_count"],
        sessions_ms=times["session_count"] * thousandths(times["average_session_duration"]),
        longest_ms=thousandths(times["longest_session"]),
        grade=None if graded or average is None else hundredths(average),
        completed_at=record["completed_at"],
        last_activity=times["last_activity"],
        last_accessed=record["last_accessed"],
        updated_at=record["updated_at"],
        carried={
            part: {name: record[part][name] for name in names if name in record[part]}
            for part, names in CARRIED.items()
        },
    )
