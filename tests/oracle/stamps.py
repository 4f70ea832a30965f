"""Invariant 2, of stamps: what an event of a learner says of its course was so when it came, or shortly before.

From docs/architecture.md ("What is stored of an event") and the course's own events: what it was after each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any

from bson import ObjectId

from tests.oracle.case import Case
from tests.oracle.courses import Story
from tests.oracle.finding import shortened
from tests.oracle.reported import MIGRATED, Event, details, order
from tests.oracle.stored import VOID, Document

# How long a text of a lesson may be to be stamped, and how many of its skills.
_LONGEST, _MOST = 100, 10


@dataclass(frozen=True, slots=True)
class _Known:
    """A course as it was from one of its events on, and until another one; both by when they were recorded."""

    version: str | None = None
    lessons: Mapping[ObjectId, Document] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    def stamp(self, event: Event) -> Document | None:
        """What an event would say of it: nothing where it has no lessons."""
        if not self.lessons:
            return None
        version = {} if self.version is None else {"version": self.version}
        lesson = self.lessons.get(event["event_data"].get("lesson_id"), {})
        stamp = {**version, **lesson} or {"version": None}
        enrolment = event["event_type"] == "course_enrolled"
        if enrolment and "total_lessons" not in details(event):
            stamp["total_lessons"] = len(self.lessons)
        if enrolment or event["version"] == 1:
            stamp["lessons"] = b"".join(each.binary for each in self.lessons)
            if "lesson_list" in (event["curriculum"] or {}):  # of before it, the list itself was stored
                stamp["lesson_list"] = sha256(stamp["lessons"]).digest()[:16]
        return stamp


def stamps(case: Case) -> Iterator[str]:
    """Where courses are the worker's, each stamp is what the course was after one of its events.

    Of one that was recorded before the stamped event; and, where `stale_after` is known, of one that was not followed
    by another one for longer than that. A list of lessons that a stamp names is stored, whoever's courses are.
    """
    for event in case.stored.real_events:
        stamp = event["curriculum"] or {}
        if "lesson_list" in stamp and "lessons" not in stamp:
            yield f"event {event['_id']} names a list of lessons that is not stored"
    if "courses" not in case.owned:
        return
    streams = case.stored.streams_of("courses")
    known: dict[str, Sequence[_Known]] = {}
    for event in case.stored.real_events:
        if "_user_" not in event["stream_id"] or event["event_type"] == MIGRATED:
            continue
        course = event["stream_id"].partition("_user_")[0]
        if course not in known:
            known[course] = _states(streams.get(course, ()))
        fitting = [each for each in known[course] if each.stamp(event) == event["curriculum"]]
        if not fitting:
            yield f"event {event['_id']} is stamped {shortened(str(event['curriculum']))}, which its course never was"
        elif not any(_in_time(case, each, event) for each in fitting):
            yield f"event {event['_id']} is stamped with what its course was before or after its time"


def _in_time(case: Case, known: _Known, event: Event) -> bool:
    recorded: datetime = event["recorded_at"]
    if known.since is not None and recorded < known.since:
        return False
    stale = case.stale_after
    return stale is None or known.until is None or recorded <= known.until + stale


def _states(events: Sequence[Event]) -> Sequence[_Known]:
    """What a course was before and after each of its events, in the order in which they were stored."""
    moments = [None, *(event["recorded_at"] for event in events), None]
    return [_known(events[:count], since, until) for count, (since, until) in enumerate(pairwise(moments))]


def _known(events: Sequence[Event], since: datetime | None, until: datetime | None) -> _Known:
    told = sorted((each for each in events if each["event_type"] != VOID), key=order)
    story = Story()
    for event in told:
        story.take(event)
    shown = story.document()
    if shown["created_at"] is None:
        return _Known(since=since, until=until)
    lessons = {
        lesson["_id"]: _said(module, lesson) for module in shown["curriculum"] for lesson in module["lessons"]
    }
    return _Known(shown["publication"]["version"], lessons, since, until)


def _said(module: Mapping[str, Any], lesson: Mapping[str, Any]) -> Document:
    skills = [each for each in map(_text, lesson.get("skills") or []) if each is not None][:_MOST]
    said = {
        "module_id": module["_id"],
        "lesson_type": _text(lesson.get("type")),
        "topic": _text(lesson.get("topic")),
        "skills": skills or None,
    }
    return {name: each for name, each in said.items() if each is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST else None
