"""The learner's bounded activity log: one entry per course, in the order of what happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

ENROLMENT = "course_enrollment"
# The log shows recent activity; the event store has all of it.
LOG_CAP = 100

_UNDATED = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ActivityEntry:
    """The enrolment in one course, dated as in the learner's record."""

    course_id: ObjectId
    timestamp: datetime

    def document(self) -> dict[str, Any]:
        return {"action": ENROLMENT, "course_id": self.course_id, "timestamp": self.timestamp}


def merged_log(stored: object, entries: Iterable[ActivityEntry]) -> list[Any]:
    """The log with these enrolments in it, each course once, at most the last `LOG_CAP` by time.

    Entries of other actions are the platform's and stay. Merging the same again changes nothing.
    """
    ours = {entry.course_id: entry.document() for entry in entries}
    log = stored if isinstance(stored, list) else []
    others = [one for one in log if not _is_enrolment_in(one, ours)]
    return sorted([*others, *ours.values()], key=_when)[-LOG_CAP:]


def _is_enrolment_in(entry: object, courses: Mapping[ObjectId, Any]) -> bool:
    return (
        isinstance(entry, Mapping) and entry.get("action") == ENROLMENT and entry.get("course_id") in courses
    )


def _when(entry: object) -> datetime:
    at = entry.get("timestamp") if isinstance(entry, Mapping) else None
    return at if isinstance(at, datetime) else _UNDATED
