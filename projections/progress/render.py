"""The visible fields of a progress document, from the fold's state alone: one integer division per number."""

from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.progress.apply import FULL
from projections.progress.ranked import milliseconds_of, moment_of
from projections.progress.state import FULL_LESSONS, MORE_LESSONS, SESSIONS_CAP, LessonState, State, latest
from projections.quantity import mean

Document = dict[str, Any]


def visible_fields(state: State) -> Document:
    """Every field readers see, except the milestones (they need to know who folds)."""
    last_at, enrolled, rating = state["last_at"], state["enrolled"], state["rating"]
    opened = state.get("opened")
    return {
        "status": "active" if enrolled is None or enrolled["v"] else "dropped",
        "progress": _progress(state),
        "time_tracking": _time_tracking(state),
        "lesson_progress": _lessons(state),
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

    The earlier of the first report of 100 % and the moment the number of lessons at 100 % reached the
    smallest total an enrolment ever named; what an adopted record says of it counts beside them. Further events never
    take it back.
    """
    opened, least = state.get("opened"), state["least_total"]
    said = (state["reported_full_at"], opened and opened["completed_at"])
    moments = [moment for moment in said if moment is not None]
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
    first, least, opened = state["first_at"], state["least_total"], state.get("opened")
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
    opened = state.get("opened")
    return FULL_LESSONS.size(state["full"]) + (0 if opened is None else opened["unnamed"])


def lessons_share(state: State) -> int:
    """What the lessons amount to, in hundredths of a percent below 100, whatever was reported."""
    total, done = state["total"], lessons_done(state)
    parts = [lesson["hundredths"] for lesson in state["lessons"].values() if lesson["hundredths"] < FULL]
    if state["more"]:
        parts += [reached for (reached,) in MORE_LESSONS.records(state["more"]) if reached < FULL]
    of = done + len(parts) if total is None else total["v"]
    return min(FULL - 1, (FULL * done + sum(parts)) // of if of else 0)


def _progress(state: State) -> Document:
    total, current, opened = state["total"], state["current_lesson"], state.get("opened")
    completed = FULL_LESSONS.last_bytes(state["full"]).count(1)
    return {
        **({} if opened is None else opened["carried"].get("progress", {})),
        "percentage": _percentage(state) / 100,
        "completed_lessons": completed + (0 if opened is None else opened["unnamed"]),
        "total_lessons": None if total is None else total["v"],
        "current_lesson_id": None if current is None else current["v"],
        "basis": "observed" if total is None else "curriculum",
    }


def _percentage(state: State) -> int:
    """Hundredths of a percent. 100 % is reached by a report or by enough lessons, never by rounding.

    An adopted record's percentage counts like a report; lessons move it once they amount to more than they did then.
    """
    total, reported, opened = state["total"], state["reported"] or 0, state.get("opened")
    if total is not None and lessons_done(state) >= total["v"]:
        return FULL
    share = lessons_share(state)
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


def _lessons(state: State) -> list[Document]:
    notes = state["notes"]
    ordered = sorted(state["lessons"].items(), key=lambda each: (each[1]["started_at"], each[0]))
    return [_lesson(key, lesson, notes[key]["v"] if key in notes else None) for key, lesson in ordered]


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
