"""The learner's activity log: one entry per course, the last ones by when it began, beside the platform's entries."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

ENROLMENT = "course_enrollment"
# The log shows recent activity; the event store has all of it.
LOG_CAP = 100


@dataclass(frozen=True, slots=True)
class ActivityEntry:
    """The enrolment in one course, dated as in the learner's record."""

    course_id: ObjectId
    timestamp: datetime

    def document(self) -> dict[str, Any]:
        return {"action": ENROLMENT, "course_id": self.course_id, "timestamp": self.timestamp}


def is_crowded(stored: object, entries: Iterable[ActivityEntry]) -> bool:
    """True if the log may have to let an enrolment go, or take one back: only all of the learner's tell which."""
    ours = {entry.course_id for entry in entries}
    return len(ours) + sum(_course(one) not in (None, *ours) for one in _list(stored)) >= LOG_CAP


def merged_log(stored: object, entries: Iterable[ActivityEntry]) -> list[Any]:
    """The log with these enrolments in it, each course once.

    Of the enrolments given, the last `LOG_CAP` by (time, course) stand there. Give all of the learner's where the log
    `is_crowded`: then it is the same whatever came first. All other entries are the platform's: they stay, in their
    own order, and each enrolment stands before the first of them that is later.
    """
    given = {entry.course_id: entry for entry in entries}
    last = sorted(given.values(), key=lambda each: (each.timestamp, each.course_id))[-LOG_CAP:]
    kept = [one for one in _list(stored) if _course(one) not in given]
    dated = [one for one in kept if _is_dated_enrolment(one)]
    enrolments = sorted([*dated, *(entry.document() for entry in last)], key=_order)
    return _interleaved([one for one in kept if not _is_dated_enrolment(one)], enrolments)


def last_enrolments(stored: object, courses: Set[ObjectId]) -> list[tuple[datetime | None, ObjectId]]:
    """What a log shows of these courses: time and course of each entry, in the order of the log."""
    shown = ((_when(one), _course(one)) for one in _list(stored))
    return [(at, course) for at, course in shown if course is not None and course in courses]


def _interleaved(others: Iterable[Any], enrolments: list[Any]) -> list[Any]:
    log, waiting = [], enrolments[::-1]
    for other in others:
        at = _when(other)
        while at is not None and waiting and waiting[-1]["timestamp"] <= at:
            log.append(waiting.pop())
        log.append(other)
    return [*log, *reversed(waiting)]


def _list(stored: object) -> list[Any]:
    return stored if isinstance(stored, list) else []


def _course(entry: object) -> ObjectId | None:
    """The course of an enrolment, dated or not; None for any other entry, whatever it is."""
    if not isinstance(entry, Mapping) or entry.get("action") != ENROLMENT:
        return None
    course = entry.get("course_id")
    return course if isinstance(course, ObjectId) else None


def _is_dated_enrolment(entry: Any) -> bool:
    return _course(entry) is not None and _when(entry) is not None


def _order(enrolment: Mapping[str, Any]) -> tuple[datetime, ObjectId]:
    return enrolment["timestamp"], enrolment["course_id"]


def _when(entry: object) -> datetime | None:
    """When an entry says it was; None for what is no date, or one beyond Python's years."""
    at = entry.get("timestamp") if isinstance(entry, Mapping) else None
    return at if isinstance(at, datetime) and at.tzinfo is not None else None
