"""What one event does to the fold's state: sums, minima, maxima and registers, so the order never matters."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, cast

from bson import ObjectId

from projections.event import MIGRATED, StoredEvent
from projections.kinds import Rules
from projections.progress.curricula import lessons_named, name_lessons, size_of
from projections.progress.ranked import lesson_rank, milliseconds_of
from projections.progress.state import (
    CERTIFICATES_CAP,
    FULL_LESSONS,
    LESSONS_CAP,
    MORE_LESSONS,
    NOTES_CAP,
    SESSIONS_CAP,
    EnrolmentPayment,
    IssuedCertificate,
    LessonState,
    QuizAttempt,
    SessionSpan,
    State,
    admit,
    certificate_key,
    earliest,
    keep_last,
    later,
    session_key,
)
from projections.quantity import fraction_reached, hundredths, hundredths_reached, milliseconds

FULL = 10_000
"""Hundredths of a percent in 100 %."""

Effect = Callable[[State, StoredEvent, LessonState | None], None]


def apply_event(state: State, event: StoredEvent) -> None:
    """Take one event of a producer, or a migration, into `state`, exactly once.

    Every event but a migration is activity; what else it does stands in `EFFECTS`. A type not in there, from a newer
    contract, is activity and nothing else. Raises KeyError, TypeError or ValueError for an event that no
    contract let in.
    """
    name_lessons(state, event)
    effect = EFFECTS.get(event.event_type)
    if effect is _migrated:
        effect(state, event, None)
        return
    spent_ms = activity(state, event)
    if effect is not None:
        at = event.occurred_at
        lesson = None if event.lesson_id is None else _in_lesson(state, event.lesson_id, at, spent_ms)
        effect(state, event, lesson)


def activity(state: State, event: StoredEvent) -> int:
    """Every event is activity: the first and last moment, the time spent, and the session. Returns the time in ms."""
    at = event.occurred_at
    state["first_at"] = earliest(state["first_at"], at)
    if state["last_at"] is None or at > state["last_at"]:
        state["last_at"] = at
    spent_ms = milliseconds(event.details.get("time_spent")) or 0
    state["time_ms"] += spent_ms
    if event.session_id is not None:
        _in_session(state, session_key(event.session_id), at)
    return spent_ms


def apply_contained(state: State, event: StoredEvent) -> None:
    """Take an event that the adopted record contains: it adds the list it names, and its payment's row by its key."""
    name_lessons(state, event)
    if event.event_type == "course_enrolled" and event.details.get("payment") is not None:
        state["payments_named"] += 1


def _in_session(state: State, key: str, at: datetime) -> None:
    sessions = state["sessions"]
    span = sessions.get(key)
    if span is not None:
        if not span["first"] <= at <= span["last"]:
            sessions[key] = SessionSpan(first=min(span["first"], at), last=max(span["last"], at))
        return
    if len(sessions) >= SESSIONS_CAP:
        state["sessions_over"] = True
    if admit(sessions, key, SESSIONS_CAP, rank=str):
        sessions[key] = SessionSpan(first=at, last=at)


def _in_lesson(state: State, lesson_id: ObjectId, at: datetime, spent_ms: int) -> LessonState | None:
    """The lesson's entry, open for change, this event's moment and time already in; None beyond the cap."""
    lessons, key = state["lessons"], str(lesson_id)
    known = lessons.get(key)
    if known is not None:
        lesson = known.copy()
        lesson["started_at"] = earliest(known["started_at"], at)
        lesson["time_ms"] += spent_ms
    elif _make_room(state, key):
        lesson = LessonState(
            started_at=at,
            hundredths=0,
            time_ms=spent_ms,
            attempts=0,
            completed_at=None,
            quizzes=0,
            quiz=None,
            grade=None,
        )
    else:
        return None
    lessons[key] = lesson
    return lesson


def _make_room(state: State, key: str) -> bool:
    """True if this new lesson gets an entry, another one losing its own where there is no room.

    Of the lesson that gets or keeps none only the percentage is known.
    """
    lessons, rank = state["lessons"], lesson_rank(key)
    if len(lessons) < LESSONS_CAP:
        return True
    if MORE_LESSONS.get(state["more"], rank) is not None:
        return False
    worst = max(lessons, key=lesson_rank)
    if rank > lesson_rank(worst):
        state["more"] = MORE_LESSONS.put(state["more"], rank, 0)
        return False
    dropped = lessons.pop(worst)
    state["more"] = MORE_LESSONS.put(state["more"], lesson_rank(worst), dropped["hundredths"])
    return True


def _enrolled(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The learner is enrolled: the last enrolment or leaving stands, the earliest enrolment dates it."""
    state["enrolled"] = later(state["enrolled"], event, True)
    state["enrolled_at"] = earliest(state["enrolled_at"], event.occurred_at)
    _paid(state, event)
    said = event.details.get("total_lessons")
    listed = lessons_named(event)
    if listed is not None and said in (None, size_of(listed)):
        state["total"] = later(state["total"], event, size_of(listed))
        return
    total = said or (event.curriculum or {}).get("total_lessons")
    if not total:
        return
    state["total"] = later(state["total"], event, total)
    least = state["least_total"]
    state["least_total"] = total if least is None else min(least, total)


def _migrated(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The learner's course has the lessons that the migration names: further ones, and some no more."""
    listed = lessons_named(event)
    if listed is not None:
        state["total"] = later(state["total"], event, size_of(listed))


def _paid(state: State, event: StoredEvent) -> None:
    payment = event.details.get("payment")
    if payment is None:
        return
    named = EnrolmentPayment(
        transaction_id=payment["transaction_id"],
        amount=payment["amount"],
        currency=payment["currency"],
        method=payment["method"],
    )
    state["payment"] = later(state["payment"], event, named)
    state["payments_named"] += 1


def _unenrolled(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The learner has left: the last enrolment or leaving stands."""
    state["enrolled"] = later(state["enrolled"], event, False)


def _lesson_started(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """One more attempt at the lesson, which is the current one."""
    _lesson_shown(state, event, lesson)
    if lesson is not None:
        lesson["attempts"] += 1


def _lesson_shown(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The lesson shown last is the current one."""
    state["current_lesson"] = later(state["current_lesson"], event, _lesson_id(event))


def _media(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The lesson played last is the current one, and stands at the largest share ever reported of it."""
    _lesson_shown(state, event, lesson)
    progress = event.details.get("progress")
    if progress is not None:
        _lesson_reached(state, event, lesson, _bounded(fraction_reached(progress)))


def _complete(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The lesson stands at 100 %, completed at the earliest such moment."""
    _lesson_reached(state, event, lesson, FULL, completed=True)
    if lesson is not None:
        lesson["completed_at"] = earliest(lesson["completed_at"], event.occurred_at)


def _lesson_reached(
    state: State, event: StoredEvent, lesson: LessonState | None, reached: int, *, completed: bool = False
) -> None:
    """The lesson stands at `reached` hundredths at least.

    Lessons at 100 % have a cap of their own: a lesson seen later takes none of them out of the count, so a
    completion once reached stays reached.
    """
    rank = lesson_rank(str(_lesson_id(event)))
    if lesson is None:
        before = MORE_LESSONS.get(state["more"], rank)
        if before is not None and reached > before[0]:
            state["more"] = MORE_LESSONS.put(state["more"], rank, reached)
    elif reached > lesson["hundredths"]:
        lesson["hundredths"] = reached
    if reached == FULL:
        at_ms, said = milliseconds_of(event.occurred_at), int(completed)
        known = FULL_LESSONS.get(state["full"], rank) or (at_ms, said)
        state["full"] = FULL_LESSONS.put(state["full"], rank, min(at_ms, known[0]), said | known[1])


def _progress_reported(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The course stands at the largest percentage ever reported, beside what its lessons say."""
    reached = _bounded(hundredths_reached(event.details["new_progress"]))
    state["reported"] = max(state["reported"] or 0, reached)
    if reached == FULL:
        state["reported_full_at"] = earliest(state["reported_full_at"], event.occurred_at)


def _quiz(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """One more attempt at the lesson's quiz: the last one is shown, all of them make the average."""
    details = event.details
    score = _bounded(hundredths(details["score"]))
    state["quizzes"] += 1
    state["quiz_sum"] += score
    if lesson is not None:
        attempt = QuizAttempt(
            score=score,
            total_questions=details.get("total_questions"),
            correct_answers=details.get("correct_answers"),
            time_ms=milliseconds(details.get("time_taken")),
        )
        lesson["quizzes"] += 1
        lesson["quiz"] = later(lesson["quiz"], event, attempt)


def _graded(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The last grade of the lesson's assignment stands."""
    if lesson is not None:
        lesson["grade"] = later(lesson["grade"], event, _bounded(hundredths(_value(event))))


def _rated(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The last rating of the course stands."""
    state["rating"] = later(state["rating"], event, hundredths(_value(event)))


def _social(counter: str) -> Effect:
    def count(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
        cast("dict[str, int]", state["social"])[counter] += 1

    count.__name__, count.__doc__ = counter, f"One more of `{counter}`."
    return count


def _certificate(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The last issue under a verification code stands."""
    details, kept = event.details, state["certificates"]
    code = details["verification_code"]
    issued = IssuedCertificate(
        code=code,
        url=details["certificate_url"],
        type=details.get("type", "completion"),
        valid_until=_moment(details.get("valid_until")),
    )
    # That of an adopted record has the key it had there.
    known = (key for key, each in kept.items() if each["v"]["code"] == code)
    key = next(known, certificate_key(event.stream_id, code))
    kept[key] = later(kept.get(key), event, issued)
    keep_last(kept, CERTIFICATES_CAP)


def _note(state: State, event: StoredEvent, lesson: LessonState | None) -> None:
    """The last note on the lesson stands."""
    notes, key = state["notes"], str(_lesson_id(event))
    if event.text is not None and admit(notes, key, NOTES_CAP, lesson_rank):
        notes[key] = later(notes.get(key), event, event.text)


EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "course_enrolled": _enrolled,
        "course_unenrolled": _unenrolled,
        "lesson_started": _lesson_started,
        "lesson_view": _lesson_shown,
        "view": _media,
        "pause": _media,
        "seek": _media,
        "complete": _complete,
        "progress_updated": _progress_reported,
        "quiz_submitted": _quiz,
        "assignment_graded": _graded,
        "discussion_posted": _social("discussion_posts"),
        "question_asked": _social("questions_asked"),
        "answer_given": _social("answers_given"),
        "peer_interaction": _social("peer_interactions"),
        "study_group_joined": _social("study_group_participations"),
        "course_rated": _rated,
        "certificate_issued": _certificate,
        "lesson_note_saved": _note,
        MIGRATED: _migrated,
    }
)

RULES = Rules(activity, EFFECTS)
"""What `explain` says of a field that an event changed: the first sentence of these functions' docstrings."""


def _lesson_id(event: StoredEvent) -> ObjectId:
    if event.lesson_id is None:
        raise ValueError(f"{event.event_type} needs a lesson_id")
    return event.lesson_id


def _value(event: StoredEvent) -> int | float:
    if event.value is None:
        raise ValueError(f"{event.event_type} needs a value")
    return event.value


def _bounded(reached: int) -> int:
    if not 0 <= reached <= FULL:
        raise ValueError("a percentage must lie between 0 and 100")
    return reached


def _moment(value: Any) -> datetime | None:
    """A time of the contract as a date: aware UTC, whole milliseconds (what BSON holds)."""
    if value is None or isinstance(value, datetime):
        return value
    moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
