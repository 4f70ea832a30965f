"""Turns one learner's plan into events with times: what happens in which session, and when it is sent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from worker.devstack.simulator.ledger import CURRENCY, METHOD, LearnerPlan, LessonPlan, ReportPlan

OFFLINE_SHARE = 0.08  # sessions on a train: their events arrive together, hours or days later
OFFLINE_HOURS = (3.0, 72.0)  # more than an hour late even for the last event of the session
DEVICES = {
    "desktop": "Mozilla/5.0 (X11; Linux x86_64) SevenP-Web/3.2",
    "mobile": "SevenP-App/5.1 (Android 15)",
    "tablet": "SevenP-App/5.1 (iPadOS 18)",
}
NOTES = ("Ask about the second example.", "Read this again before the quiz.", "Key idea: start small.")

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """One event without its id; `published_at` is when its producer hands it to Kafka."""

    fields: Mapping[str, Any]
    occurred_at: datetime
    published_at: datetime


@dataclass(frozen=True, slots=True)
class _Action:
    """One thing the learner does, and how long it takes them."""

    fields: Fields
    takes: timedelta


def draft_events(plan: LearnerPlan, random: Random, start: datetime) -> Iterator[Draft]:
    """Exactly `plan.event_count` events, in order of occurrence, strictly increasing by at least a second."""
    common = {"user_id": plan.user_id, "course_id": plan.course.course_id, "producer": "simulator"}
    at = start
    for actions in _sessions(plan, random):
        session = {**common, **session_fields(random)}
        occurrences: list[tuple[Fields, datetime]] = []
        for action in actions:
            at += action.takes + timedelta(milliseconds=random.randint(1_000, 20_000))
            occurrences.append((action.fields, at))
        offline = random.random() < OFFLINE_SHARE
        wait = timedelta(hours=random.uniform(*OFFLINE_HOURS))
        for number, (fields, occurred) in enumerate(occurrences):
            delay = timedelta(milliseconds=random.randint(50, 5_000))
            published = at + wait + timedelta(milliseconds=number) if offline else occurred + delay
            yield Draft({**session, **fields}, occurred, published)
        at += timedelta(hours=random.uniform(4, 30))


def session_fields(random: Random) -> Fields:
    """What all events of one session have in common."""
    device = random.choice(tuple(DEVICES))
    return {
        "session_id": f"session-{random.getrandbits(64):016x}",
        "device_type": device,
        "user_agent": DEVICES[device],
        "ip_address": f"203.0.113.{random.randint(1, 254)}",  # RFC 5737: addresses for documentation
    }


def _sessions(plan: LearnerPlan, random: Random) -> list[list[_Action]]:
    """Enrolment first; then one or two lessons a session, with social life and reports spread over them."""
    sessions = [[_enrolment(plan)]]
    lessons = list(plan.lessons)
    while lessons:
        together, lessons = lessons[:2], lessons[2:]
        parts = [together] if random.random() < 0.5 else [[lesson] for lesson in together]
        sessions += [[action for lesson in part for action in _lesson(lesson, random)] for part in parts]
    later = sessions[1:] or sessions
    for extra in _extras(plan, random):
        random.choice(later).append(extra)
    places = sorted(random.randrange(len(later)) for _ in plan.ratings)  # in their order: the last one counts
    for place, stars in zip(places, plan.ratings, strict=True):
        later[place].append(_Action({"event_type": "course_rated", "value": stars}, timedelta(seconds=5)))
    sessions[-1] += _ending(plan, random)
    return sessions


def _enrolment(plan: LearnerPlan) -> _Action:
    details: Fields = {"total_lessons": len(plan.course.lessons)}
    if plan.payment is not None:
        details["payment"] = {
            "transaction_id": plan.payment.transaction_id,
            "amount": plan.payment.amount,
            "currency": CURRENCY,
            "method": METHOD,
        }
    return _Action({"event_type": "course_enrolled", "details": details}, timedelta(0))


def _lesson(lesson: LessonPlan, random: Random) -> Iterator[_Action]:
    def event(event_type: str, takes_s: float = 2, **fields: Any) -> _Action:
        fields = {"event_type": event_type, "lesson_id": lesson.lesson_id, **fields}
        return _Action(fields, timedelta(seconds=takes_s))

    yield event("lesson_started")
    if lesson.shown:
        yield event("lesson_view")
    yield from _player(lesson, random)
    if lesson.noted:
        yield event("lesson_note_saved", 30, details={"text": random.choice(NOTES)})
    if lesson.completed:
        yield event("complete")
    for score in lesson.scores:
        taken = random.randint(30, 600)
        details = {"score": score / 100, "total_questions": 10, "correct_answers": score // 1_000}
        yield event("quiz_submitted", taken, details={**details, "time_taken": taken})
    if lesson.grade is not None:
        yield event("assignment_graded", 60, value=lesson.grade / 100)
    if lesson.repeated:
        yield event("complete", 120)


def _player(lesson: LessonPlan, random: Random) -> Iterator[_Action]:
    """Player events whose times add up to the plan's and whose highest progress is the plan's.

    Pauses and seeks report; the last player event reports what is left. A finished lesson's player may stop
    short of the end: `complete` makes it whole.
    """
    position_s = 0.0
    share_out = _parts(lesson.time_ms, min(lesson.media, 4), random)
    for number in range(lesson.media):
        last = number == lesson.media - 1
        fields: Fields = {"event_type": _player_event(number, random), "lesson_id": lesson.lesson_id}
        spent_ms = share_out[number] if number < len(share_out) else 0
        position_s += spent_ms / 1000
        details: Fields = {"time_spent": spent_ms / 1000} if spent_ms else {}
        if lesson.hundredths and (spent_ms or last):
            reached = lesson.hundredths if last else lesson.hundredths * (number + 1) // (lesson.media + 1)
            details["progress"] = min(reached, 9_900 if lesson.completed else reached) / 10_000
        if details:
            fields["details"] = details
        yield _Action({**fields, "value": round(position_s, 3)}, timedelta(milliseconds=max(spent_ms, 500)))


def _player_event(number: int, random: Random) -> str:
    """A player starts with `view`, then anything goes."""
    return "view" if number == 0 else random.choice(("view", "pause", "pause", "seek"))


def _parts(total: int, count: int, random: Random) -> Sequence[int]:
    """`count` non-negative integers whose sum is `total`; none for a count of 0."""
    if count == 0:
        return ()
    cuts = sorted(random.randint(0, total) for _ in range(count - 1))
    return [upper - lower for lower, upper in zip([0, *cuts], [*cuts, total], strict=True)]


def _extras(plan: LearnerPlan, random: Random) -> Iterator[_Action]:
    for event_type in plan.social:
        yield _Action({"event_type": event_type}, timedelta(seconds=random.randint(20, 300)))
    for report in plan.reports:
        yield _report(report, random)


def _report(report: ReportPlan, random: Random) -> _Action:
    spent_s = report.time_ms / 1000
    old = random.randint(0, report.hundredths)
    details = {"new_progress": report.hundredths / 100, "old_progress": old / 100, "time_spent": spent_s}
    return _Action({"event_type": "progress_updated", "details": details}, timedelta(seconds=spent_s))


def _ending(plan: LearnerPlan, random: Random) -> Iterator[_Action]:
    if plan.certified:
        code = f"{random.getrandbits(48):012x}"
        details = {"certificate_url": f"https://example.org/certificates/{code}", "verification_code": code}
        yield _Action({"event_type": "certificate_issued", "details": details}, timedelta(minutes=1))
    if plan.drops_out:
        yield _Action({"event_type": "course_unenrolled"}, timedelta(minutes=1))
