"""What stored events say, in the words of docs/projections.md: order, latest, type, details."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.oracle.decimals import milliseconds
from tests.oracle.stored import OPENING, VOID

Event = Mapping[str, Any]

# Of the events without effect a document names so many, the last.
_NAMED = 20

MIGRATED = "curriculum_migrated"
"""The worker's own word of a course; no learner did it."""
PLAYER = ("view", "pause", "seek")
SOCIAL = {
    "discussion_posts": "discussion_posted",
    "questions_asked": "question_asked",
    "answers_given": "answer_given",
    "peer_interactions": "peer_interaction",
    "study_group_participations": "study_group_joined",
}
KNOWN_TYPES = frozenset(
    {
        "course_enrolled",
        "course_unenrolled",
        "lesson_started",
        "lesson_view",
        *PLAYER,
        "complete",
        "progress_updated",
        "quiz_submitted",
        "assignment_graded",
        *SOCIAL.values(),
        "course_rated",
        "certificate_issued",
        "lesson_note_saved",
    }
)


def real(events: Iterable[Event]) -> Sequence[Event]:
    """Events in the page's sense: those of producers."""
    return [event for event in events if event["event_type"] not in (VOID, OPENING)]


def of(events: Iterable[Event], *types: str) -> Sequence[Event]:
    """The events of these types."""
    return [event for event in events if event["event_type"] in types]


def latest(events: Iterable[Event]) -> Event | None:
    """The greatest in the order of events, None of none."""
    return max(events, key=order, default=None)


def order(event: Event) -> tuple[datetime, bytes]:
    """The order of events: by moment, then by the bytes of the id."""
    return event["occurred_at"], event["_id"].bytes


def at(event: Event) -> datetime:
    moment: datetime = event["occurred_at"]
    return moment


def earliest_at(events: Iterable[Event]) -> datetime | None:
    return min(map(at, events), default=None)


def details(event: Event) -> Mapping[str, Any]:
    found: Mapping[str, Any] = event["event_data"].get("details", {})
    return found


def all_details(event: Event) -> Mapping[str, Any]:
    """The producer's details, with the part of them that stands with what is personal."""
    return {**details(event), **event["personal"].get("details", {})}


def without_effect(refused: Iterable[tuple[Event, str]]) -> Mapping[str, Any] | None:
    """What a document says of events from which nothing follows: how many, why, and the last of them."""
    ordered = sorted(refused, key=lambda each: order(each[0]))
    if not ordered:
        return None
    return {
        "total": len(ordered),
        "reasons": dict(Counter(reason for _, reason in ordered)),
        "latest": [
            {
                "event_id": event["_id"],
                "event_type": event["event_type"],
                "occurred_at": at(event),
                "reason": reason,
            }
            for event, reason in ordered[-_NAMED:]
        ],
    }


def time_ms(events: Iterable[Event]) -> int:
    """The sum of `time_spent`."""
    return sum(milliseconds(details(event).get("time_spent")) or 0 for event in events)


def total_lessons(enrolment: Event) -> int | None:
    """The number of lessons an enrolment tells, itself or by the curriculum stored with it."""
    total = details(enrolment).get("total_lessons") or (enrolment["curriculum"] or {}).get("total_lessons")
    return int(total) if total else len((enrolment["curriculum"] or {}).get("lessons") or b"") // 12 or None


def latest_per(events: Iterable[Event], key: Callable[[Event], Any]) -> Sequence[Event]:
    """Of each key the latest event, in the order of events."""
    chosen: dict[Any, Event] = {key(event): event for event in sorted(events, key=order)}
    return sorted(chosen.values(), key=order)


def sha1(text: str) -> bytes:
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def moment(text: str | None) -> datetime | None:
    """A time of the contract as it is stored: UTC, cut to milliseconds, a leap second as the next second."""
    if text is None:
        return None
    leap = 1 if text[17:19] == "60" else 0
    parsed = datetime.fromisoformat(f"{text[:17]}59{text[19:]}".upper() if leap else text.upper()).astimezone(
        UTC
    )
    return parsed.replace(microsecond=parsed.microsecond // 1000 * 1000) + timedelta(seconds=leap)


def spelling(time: datetime) -> str:
    """The one spelling of a time: UTC with milliseconds."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
