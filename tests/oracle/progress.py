"""Invariant 5: progress documents are a fold over the event store, written a second time.

From docs/projections.md and the contract alone: all events of a stream at once, with decimals, where the worker keeps
running integers and registers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from tests.oracle.adopted import Adopted, adopted_in, counting, migrations
from tests.oracle.case import Case
from tests.oracle.curricula import Curriculum, curricula_of, listed
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
    sha1,
    time_ms,
    total_lessons,
)

_SESSIONS = 200
_CERTIFICATES = 20
_MODES = ("live", "replay", "retry")


def progress_documents(case: Case) -> Iterator[str]:
    """Every stream has one document, at its last version, which shows what follows from its events."""
    streams = case.stored.folded_streams
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
    all_events, happened, adopted = events, counting(events), adopted_in(events)
    stream = str(all_events[0]["stream_id"])
    enrolments = of(happened, "course_enrolled")
    record: Mapping[str, Any] = adopted.record if adopted else {}
    first = _extreme(min, earliest_at(happened), record.get("created_at"))
    last = max(map(at, happened), default=None)
    lessons, curricula = lessons_of(happened, adopted), curricula_of(events)
    reached = milestones(events)
    social, known = record.get("social") or dict.fromkeys(SOCIAL, 0), record.get("time_tracking") or {}
    return {
        **_identity(stream, all_events),
        "status": _status(happened, adopted),
        "enrollment_date": reached["welcome"] or first,
        "created_at": first,
        "updated_at": _extreme(max, last, record.get("updated_at")),
        "last_accessed": _extreme(max, last, record.get("last_accessed")),
        "progress": _course_progress(events, lessons, curricula),
        "time_tracking": {
            **_times(happened, known),
            "last_activity": _extreme(max, last, known.get("last_activity")),
        },
        "lesson_progress": lesson_entries(lessons, curricula),
        "performance": _performance(happened, lessons, adopted),
        "social": {name: social[name] + len(of(happened, event_type)) for name, event_type in SOCIAL.items()},
        "rating": _rating(happened, adopted),
        "certificates": _certificates(stream, happened, adopted),
        "payment_data": _payment(enrolments, adopted),
        "milestones": _shown_milestones(events, reached),
        "completion_notified": reached["completed"] is not None,
    }


def _extreme(choose: Callable[[Iterable[datetime]], datetime], *moments: datetime | None) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return choose(known) if known else None


def milestones(events: Sequence[Event]) -> Mapping[str, datetime | None]:
    """The moments at which they were reached."""
    happened, adopted = counting(events), adopted_in(events)
    record: Mapping[str, Any] = adopted.record if adopted else {}
    enrolments, reports = of(happened, "course_enrolled"), of(happened, "progress_updated")
    full = _full_moments(lessons_of(happened, adopted), adopted)
    moments = [at(report) for report in reports if _reported(report) == WHOLE]
    least = _least_total(happened, adopted)
    if least is not None and len(full) >= least:
        moments.append(full[least - 1])
    moments += _done_moments(events)
    return {
        "welcome": _extreme(min, earliest_at(enrolments), record.get("enrollment_date")),
        "completed": _extreme(min, *moments, record.get("completed_at")),
    }


def percentage_at_welcome(events: Sequence[Event]) -> float:
    """What a welcome says: what the learner had done before it."""
    happened, adopted = counting(events), adopted_in(events)
    reached = milestones(events)
    welcome, completed = reached["welcome"], reached["completed"]
    if welcome is None:
        return 0.0
    if completed is not None and completed < welcome:
        return 100.0
    sizes = [len(each.lessons) for each in curricula_of(events)]
    least = min(filter(None, [*sizes, _least_total(happened, adopted)]), default=None)
    lessons = lessons_of(happened, adopted)
    done = sum(full_at < welcome for full_at in _full_moments(lessons, adopted))
    known = adopted.percentage if adopted and adopted.at < welcome else 0
    return max(known, min(WHOLE - 1, WHOLE * done // least) if least else 0) / 100


def _shown_milestones(events: Sequence[Event], reached: Mapping[str, datetime | None]) -> Mapping[str, Any]:
    shown = {"welcome": percentage_at_welcome(events), "completed": 100.0}
    return {
        name: None if moment is None else {"at": moment, "percentage": shown[name]}
        for name, moment in reached.items()
    }


def _full_moments(lessons: Sequence[Lesson], adopted: Adopted | None) -> Sequence[datetime]:
    unnamed = [adopted.at] * adopted.unnamed if adopted else []
    return sorted([*unnamed, *(each.full_at for each in _full(lessons) if each.full_at is not None)])


def _least_total(happened: Sequence[Event], adopted: Adopted | None) -> int | None:
    known = adopted.record["progress"]["total_lessons"] if adopted else None
    said = [each for each in of(happened, "course_enrolled") if total_lessons(each) != len(listed(each))]
    return min(filter(None, [known, *map(total_lessons, said)]), default=None)


def _done_moments(events: Sequence[Event]) -> Iterator[datetime]:
    """When all lessons of one of the learner's curricula were at 100 %."""
    adopted = adopted_in(events)
    lessons = lessons_of(counting(events), adopted)
    for curriculum in curricula_of(events):
        own = [each for each in lessons if each.lesson_id in curriculum.lessons]
        full = _full_moments(own, adopted)
        if len(full) >= len(curriculum.lessons):
            moment = full[len(curriculum.lessons) - 1]
            yield moment if curriculum.since is None else max(moment, curriculum.since)


def _identity(stream: str, events: Sequence[Event]) -> Mapping[str, Any]:
    digest, data = sha1(stream), events[0]["event_data"]
    return {
        "_id": ObjectId(digest[:12]),
        "stream_id": stream,
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "slot": digest[-1],
        "version": len(events),
        "projection_version": 5,
        "recorded_at": max(event["recorded_at"] for event in events),
    }


def _without_modes(document: Mapping[str, Any]) -> Mapping[str, Any]:
    reached = {
        name: each and {what: value for what, value in each.items() if what != "by"}
        for name, each in document["milestones"].items()
    }
    return {**document, "milestones": reached}


def _status(happened: Sequence[Event], adopted: Adopted | None) -> str:
    last = latest(of(happened, "course_enrolled", "course_unenrolled"))
    if adopted and adopted.stands(last):
        return str(adopted.record["status"])
    return "dropped" if last is not None and last["event_type"] == "course_unenrolled" else "active"


def _course_progress(
    events: Sequence[Event], lessons: Sequence[Lesson], curricula: Sequence[Curriculum]
) -> Mapping[str, Any]:
    happened, adopted = counting(events), adopted_in(events)
    enrolments = [each for each in of(happened, "course_enrolled") if total_lessons(each)]
    named = latest([*enrolments, *migrations(events)])
    total = None if named is None else total_lessons(named) or len(listed(named))
    current = latest(of(happened, "lesson_started", "lesson_view", *PLAYER))
    shown = None if current is None else current["event_data"]["lesson_id"]
    known: Mapping[str, Any] = adopted.record["progress"] if adopted else {}
    if adopted and known["total_lessons"] and adopted.stands(named):
        total = known["total_lessons"]
    if adopted and known["current_lesson_id"] and adopted.stands(current):
        shown = known["current_lesson_id"]
    if total is None and curricula:
        total = len(curricula[-1].lessons)
    if curricula and total == len(curricula[-1].lessons):
        lessons = [each for each in lessons if each.lesson_id in curricula[-1].lessons]
    estimate = "estimated_completion_date"
    return {
        **({estimate: known[estimate]} if estimate in known else {}),
        "percentage": _percentage(happened, lessons, total, adopted) / 100,
        "completed_lessons": sum(each.completed_at is not None for each in _full(lessons))
        + (adopted.unnamed if adopted else 0),
        "total_lessons": total,
        "current_lesson_id": shown,
        "basis": "observed" if total is None else "curriculum",
    }


def _percentage(
    happened: Sequence[Event], lessons: Sequence[Lesson], total: int | None, adopted: Adopted | None
) -> int:
    unnamed = adopted.unnamed if adopted else 0
    if total is not None and len(_full(lessons)) + unnamed >= total:
        return WHOLE
    share, reports = _share(lessons, total, unnamed), [*map(_reported, of(happened, "progress_updated"))]
    if adopted is None:
        return max([*reports, share])
    then = _share(lessons_of([], adopted), adopted.record["progress"]["total_lessons"], unnamed)
    return max([*reports, adopted.percentage, *([share] if share > then else [])])


def _share(lessons: Sequence[Lesson], total: int | None, unnamed: int) -> int:
    done, parts = len(_full(lessons)), [each for each in kept(lessons, COUNTED) if each.percentage < WHOLE]
    reached = WHOLE * (done + unnamed) + sum(each.percentage for each in parts)
    return min(WHOLE - 1, reached // (total or done + unnamed + len(parts) or 1))


def _full(lessons: Sequence[Lesson]) -> Sequence[Lesson]:
    """The lessons at 100 %, which have a cap of their own."""
    return kept((each for each in lessons if each.percentage == WHOLE), COUNTED)


def _reported(report: Event) -> int:
    return cut(details(report)["new_progress"], 100)


def _times(happened: Sequence[Event], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """`known` is what an adopted record says of times, empty where there is none."""
    sessions: dict[str, list[datetime]] = {}
    for event in happened:
        name = event["event_data"].get("session_id")
        if name is not None:
            sessions.setdefault(sha1(name).hex()[:16], []).append(at(event))
    keys = sorted(sessions)[:_SESSIONS]
    lengths = [(max(sessions[key]) - min(sessions[key])) // timedelta(milliseconds=1) for key in keys]
    before = known.get("session_count", 0)
    lengths += [rounded(known.get("average_session_duration", 0), 1000)] * before
    longest = rounded(known.get("longest_session", 0), 1000)
    return {
        "total_seconds": (rounded(known.get("total_seconds", 0), 1000) + time_ms(happened)) / 1000,
        "session_count": before + (len(sessions) if len(sessions) <= _SESSIONS else _estimate(keys[-1])),
        "average_session_duration": mean(sum(lengths), len(lengths)) / 1000 if lengths else 0.0,
        "longest_session": max([longest, *lengths]) / 1000,
    }


def _estimate(last_key: str) -> int:
    return max(_SESSIONS + 1, (_SESSIONS - 1) * 2**64 // max(1, int(last_key, 16)))


def _performance(
    happened: Sequence[Event], lessons: Sequence[Lesson], adopted: Adopted | None
) -> Mapping[str, Any]:
    scores = [rounded(details(attempt)["score"], 100) for attempt in of(happened, "quiz_submitted")]
    grades = [each.grade for each in kept(lessons) if each.grade is not None]
    known: Mapping[str, Any] = adopted.record["performance"] if adopted else {}
    if adopted:
        scores += adopted.quiz_scores
        grades += [] if adopted.grade is None else [adopted.grade]
    carried = ("engagement_score", "consistency_score", "skills_progress")
    return {
        **{name: known[name] for name in carried if name in known},
        "quiz_average": mean(sum(scores), len(scores)) / 100 if scores else None,
        "assignment_average": mean(sum(grades), len(grades)) / 100 if grades else None,
    }


def _rating(happened: Sequence[Event], adopted: Adopted | None) -> Mapping[str, Any] | None:
    last = latest(of(happened, "course_rated"))
    known: Mapping[str, Any] | None = adopted.record["rating"] if adopted else None
    if adopted and known and adopted.stands(last, known["rated_at"]):
        return known
    if last is None:
        return None
    return {"value": rounded(last["event_data"]["value"], 100) / 100, "rated_at": at(last)}


def _certificates(stream: str, happened: Sequence[Event], adopted: Adopted | None) -> list[Mapping[str, Any]]:
    known: Sequence[Mapping[str, Any]] = adopted.record["certificates"] if adopted else ()
    issued = latest_per(of(happened, "certificate_issued"), lambda each: details(each)["verification_code"])
    ids = {each["verification_code"]: each["_id"] for each in known}
    shown = {details(each)["verification_code"]: (order(each), _certificate(stream, each)) for each in issued}
    for each in known:
        code, when = each["verification_code"], each["issued_at"]
        place = (when, adopted.event["_id"].bytes) if adopted else (when, b"")
        if code not in shown or shown[code][0] < place:
            shown[code] = (place, each)
    return [
        {**certificate, "_id": ids.get(code, certificate["_id"])}
        for code, (_, certificate) in sorted(shown.items(), key=lambda each: each[1][0])[-_CERTIFICATES:]
    ]


def _certificate(stream: str, issue: Event) -> Mapping[str, Any]:
    said = details(issue)
    return {
        "_id": ObjectId(sha1(stream + said["verification_code"])[:12]),
        "type": said.get("type", "completion"),
        "issued_at": at(issue),
        "certificate_url": said["certificate_url"],
        "verification_code": said["verification_code"],
        "valid_until": moment(said.get("valid_until")),
    }


def _payment(enrolments: Sequence[Event], adopted: Adopted | None) -> Mapping[str, Any] | None:
    paid = latest(each for each in enrolments if details(each).get("payment") is not None)
    known: Mapping[str, Any] | None = adopted.record["payment_data"] if adopted else None
    if adopted and known and adopted.stands(paid):
        return known
    names = ("transaction_id", "amount", "currency", "method")
    return None if paid is None else {name: details(paid)["payment"][name] for name in names}
