"""Invariant 5: progress documents are a fold over the event store, written a second time.

From docs/projections.md and the contract alone: all events of a stream at once, with decimals, where the worker keeps
running integers and registers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from tests.oracle.case import Case
from tests.oracle.decimals import cut, mean, rounded
from tests.oracle.finding import miscounted, unequal
from tests.oracle.lessons import COUNTED, WHOLE, Lesson, kept, lesson_entries, lessons_of
from tests.oracle.reported import (
    PLAYER,
    SOCIAL,
    Event,
    at,
    details,
    earliest_at,
    latest,
    latest_per,
    moment,
    of,
    order,
    real,
    sha1,
    time_ms,
    total_lessons,
)

_SESSIONS = 200
_CERTIFICATES = 20
_MODES = ("live", "replay", "retry")


def progress_documents(case: Case) -> Iterator[str]:
    """Every stream has one document, at its last version, which shows what follows from its events."""
    streams = case.stored.streams
    documents = Counter(document["stream_id"] for document in case.stored.progress)
    yield from miscounted("progress document", Counter(streams.keys()), documents)
    for document in case.stored.progress:
        events = streams.get(document["stream_id"])
        if events is not None:
            yield from document_differences(document, events)


def document_differences(document: Mapping[str, Any], events: Sequence[Event]) -> Iterator[str]:
    """Where a document shows something else than its stream's events, voids among them, say."""
    subject = f"progress of {document['stream_id']}"
    if document["version"] != len(events):
        yield f"{subject} is at version {document['version']} of {len(events)}"
    yield from unequal(subject, expected_progress(events), _without_modes(document))
    for name, reached in document["milestones"].items():
        if reached is not None and reached["by"] not in _MODES:
            yield f"{subject} says that {name} was reached by {reached['by']}"


def expected_progress(events: Sequence[Event]) -> Mapping[str, Any]:
    """All that readers see, except `rev` and who reached a milestone first."""
    all_events, happened = events, real(events)
    stream = str(all_events[0]["stream_id"])
    enrolments = of(happened, "course_enrolled")
    first, last = earliest_at(happened), max(map(at, happened), default=None)
    lessons = lessons_of(happened)
    reached = milestones(events)
    return {
        **_identity(stream, all_events),
        "status": _status(happened),
        "enrollment_date": earliest_at(enrolments) or first,
        "created_at": first,
        "updated_at": last,
        "last_accessed": last,
        "progress": _course_progress(happened, lessons),
        "time_tracking": {**_times(happened), "last_activity": last},
        "lesson_progress": lesson_entries(lessons),
        "performance": _performance(happened, lessons),
        "social": {name: len(of(happened, event_type)) for name, event_type in SOCIAL.items()},
        "rating": _rating(happened),
        "certificates": _certificates(stream, happened),
        "payment_data": _payment(enrolments),
        "milestones": _shown_milestones(happened, reached),
        "completion_notified": reached["completed"] is not None,
    }


def milestones(events: Iterable[Event]) -> Mapping[str, datetime | None]:
    """The moments at which they were reached."""
    happened = real(events)
    enrolments, reports = of(happened, "course_enrolled"), of(happened, "progress_updated")
    full = _full_moments(lessons_of(happened))
    moments = [at(report) for report in reports if _reported(report) == WHOLE]
    least = _least_total(happened)
    if least is not None and len(full) >= least:
        moments.append(full[least - 1])
    return {"welcome": earliest_at(enrolments), "completed": min(moments, default=None)}


def percentage_at_welcome(events: Iterable[Event]) -> float:
    """What a welcome says: what the learner had done before it."""
    happened = real(events)
    reached = milestones(happened)
    welcome, completed = reached["welcome"], reached["completed"]
    if welcome is None:
        return 0.0
    if completed is not None and completed < welcome:
        return 100.0
    least = _least_total(happened)
    done = sum(full_at < welcome for full_at in _full_moments(lessons_of(happened)))
    return min(WHOLE - 1, WHOLE * done // least) / 100 if least else 0.0


def _shown_milestones(happened: Sequence[Event], reached: Mapping[str, datetime | None]) -> Mapping[str, Any]:
    shown = {"welcome": percentage_at_welcome(happened), "completed": 100.0}
    return {
        name: None if moment is None else {"at": moment, "percentage": shown[name]}
        for name, moment in reached.items()
    }


def _full_moments(lessons: Sequence[Lesson]) -> Sequence[datetime]:
    return sorted(each.full_at for each in _full(lessons) if each.full_at is not None)


def _least_total(happened: Sequence[Event]) -> int | None:
    return min(filter(None, map(total_lessons, of(happened, "course_enrolled"))), default=None)


def _identity(stream: str, events: Sequence[Event]) -> Mapping[str, Any]:
    digest, data = sha1(stream), events[0]["event_data"]
    return {
        "_id": ObjectId(digest[:12]),
        "stream_id": stream,
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "slot": digest[-1],
        "version": len(events),
        "projection_version": 2,
        "recorded_at": max(event["recorded_at"] for event in events),
    }


def _without_modes(document: Mapping[str, Any]) -> Mapping[str, Any]:
    reached = {
        name: each and {what: value for what, value in each.items() if what != "by"}
        for name, each in document["milestones"].items()
    }
    return {**document, "milestones": reached}


def _status(happened: Sequence[Event]) -> str:
    last = latest(of(happened, "course_enrolled", "course_unenrolled"))
    return "dropped" if last is not None and last["event_type"] == "course_unenrolled" else "active"


def _course_progress(happened: Sequence[Event], lessons: Sequence[Lesson]) -> Mapping[str, Any]:
    named = latest(each for each in of(happened, "course_enrolled") if total_lessons(each))
    total = None if named is None else total_lessons(named)
    current = latest(of(happened, "lesson_started", "lesson_view", *PLAYER))
    return {
        "percentage": _percentage(happened, lessons, total) / 100,
        "completed_lessons": sum(bool(of(each.events, "complete")) for each in _full(lessons)),
        "total_lessons": total,
        "current_lesson_id": None if current is None else current["event_data"]["lesson_id"],
        "basis": "observed" if total is None else "curriculum",
    }


def _percentage(happened: Sequence[Event], lessons: Sequence[Lesson], total: int | None) -> int:
    done, parts = len(_full(lessons)), [each for each in kept(lessons, COUNTED) if each.percentage < WHOLE]
    if total is not None and done >= total:
        return WHOLE
    reached = WHOLE * done + sum(each.percentage for each in parts)
    share = reached // (total or done + len(parts) or 1)
    return max([*map(_reported, of(happened, "progress_updated")), min(WHOLE - 1, share)])


def _full(lessons: Sequence[Lesson]) -> Sequence[Lesson]:
    """The lessons at 100 %, which have a cap of their own."""
    return kept((each for each in lessons if each.percentage == WHOLE), COUNTED)


def _reported(report: Event) -> int:
    return cut(details(report)["new_progress"], 100)


def _times(happened: Sequence[Event]) -> Mapping[str, Any]:
    sessions: dict[str, list[datetime]] = {}
    for event in happened:
        name = event["event_data"].get("session_id")
        if name is not None:
            sessions.setdefault(sha1(name).hex()[:16], []).append(at(event))
    keys = sorted(sessions)[:_SESSIONS]
    lengths = [(max(sessions[key]) - min(sessions[key])) // timedelta(milliseconds=1) for key in keys]
    return {
        "total_seconds": time_ms(happened) / 1000,
        "session_count": len(sessions) if len(sessions) <= _SESSIONS else _estimate(keys[-1]),
        "average_session_duration": mean(sum(lengths), len(lengths)) / 1000 if lengths else 0.0,
        "longest_session": max(lengths, default=0) / 1000,
    }


def _estimate(last_key: str) -> int:
    return max(_SESSIONS + 1, (_SESSIONS - 1) * 2**64 // max(1, int(last_key, 16)))


def _performance(happened: Sequence[Event], lessons: Sequence[Lesson]) -> Mapping[str, Any]:
    scores = [rounded(details(attempt)["score"], 100) for attempt in of(happened, "quiz_submitted")]
    grades = [each.grade for each in kept(lessons) if each.grade is not None]
    return {
        "quiz_average": mean(sum(scores), len(scores)) / 100 if scores else None,
        "assignment_average": mean(sum(grades), len(grades)) / 100 if grades else None,
    }


def _rating(happened: Sequence[Event]) -> Mapping[str, Any] | None:
    last = latest(of(happened, "course_rated"))
    if last is None:
        return None
    return {"value": rounded(last["event_data"]["value"], 100) / 100, "rated_at": at(last)}


def _certificates(stream: str, happened: Sequence[Event]) -> list[Mapping[str, Any]]:
    issued = latest_per(of(happened, "certificate_issued"), lambda each: details(each)["verification_code"])
    return [
        {
            "_id": ObjectId(sha1(stream + details(each)["verification_code"])[:12]),
            "type": details(each).get("type", "completion"),
            "issued_at": at(each),
            "certificate_url": details(each)["certificate_url"],
            "verification_code": details(each)["verification_code"],
            "valid_until": moment(details(each).get("valid_until")),
        }
        for each in sorted(issued, key=order)[-_CERTIFICATES:]
    ]


def _payment(enrolments: Sequence[Event]) -> Mapping[str, Any] | None:
    paid = latest(each for each in enrolments if details(each).get("payment") is not None)
    names = ("transaction_id", "amount", "currency", "method")
    return None if paid is None else {name: details(paid)["payment"][name] for name in names}
