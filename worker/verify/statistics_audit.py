"""Compares statistics and activity logs with the sum over projections: values in, findings out, no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.counts import TEACHING, Counted, course_stats, last_enrolments, user_stats
from projections.counts.activity import ENROLMENT, LOG_CAP
from worker.verify.findings import CheckResult, Fault, Finding, Kind, differs
from worker.verify.sameness import differing

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """One user document and what one snapshot shows of them as an instructor and as a learner, `enrolled` when where.

    `taught` is None where a course of theirs shows no statistics yet, so that nothing can be compared.
    """

    user: Document
    learned: Counted
    enrolled: Mapping[ObjectId, datetime]
    taught: Counted | None


def check_course(course: Document, counted: Counted) -> CheckResult:
    """Whether the statistics are those of the sum over the course's projections."""
    subject, stats = f"course {course['_id']}", course.get("stats")
    if not isinstance(stats, Mapping) or "sums" not in stats:
        return (
            _missing(subject, ("courses", course), "learners are counted, none shown")
            if counted
            else CheckResult()
        )
    about = ("courses", course["_id"])
    return CheckResult(list(_audit_statistics(subject, course_stats(counted), stats, about)))


def check_user(person: Person) -> CheckResult:
    """Whether the statistics are those of the sum over projections, and each enrolment is in the log once."""
    user = person.user
    subject, stats = f"user {user['_id']}", user.get("stats")
    sums = stats.get("sums") if isinstance(stats, Mapping) else None
    if not isinstance(stats, Mapping) or not isinstance(sums, Mapping):
        counted = person.learned or person.taught
        return _missing(subject, ("users", user), "counted, but nothing shown") if counted else CheckResult()
    taught = person.taught
    if taught is not None:
        taught = taught.only(TEACHING) if taught or "teaching" in sums else None
    expected = user_stats(person.learned, taught)
    if taught is None:
        stats = {**stats, "sums": {"learning": sums.get("learning")}}
    about = ("users", user["_id"])
    log = _audit_log(subject, user.get("activity_log"), person.enrolled, about)
    return CheckResult([*_audit_statistics(subject, expected, stats, about), *log])


def _missing(subject: str, where: tuple[str, Document], detail: str) -> CheckResult:
    """Waits for its statistics since the platform, as it says itself, wrote the document last."""
    collection, document = where
    dates = [document.get(name) for name in ("created_at", "updated_at")]
    since = max((each for each in dates if isinstance(each, datetime)), default=None)
    about = (collection, document["_id"])
    return CheckResult(waiting=Finding(Kind.STATISTICS, Fault.MISSING, subject, detail, since, about))


def _audit_statistics(
    subject: str, expected: Document, stats: Document, about: tuple[str, Any]
) -> Iterator[Finding]:
    what = "stats differ from the sum over projections in"
    return differs(Kind.STATISTICS, subject, what, differing(expected, stats), about=about)


def _audit_log(
    subject: str, stored: object, ours: Mapping[ObjectId, datetime], about: tuple[str, Any]
) -> Iterator[Finding]:
    """The last enrolments once each, as dated in their records, in their order; and none that never was."""
    expected = sorted((at, course) for course, at in ours.items())[-LOG_CAP:]
    shown = last_enrolments(stored, ours.keys())
    if shown != expected:
        detail = f"activity_log shows {len(shown)} enrolments of {len(expected)}, or other dates"
        yield Finding(Kind.ACTIVITY_LOG, Fault.DIFFERENT, subject, detail, about=about)
    log = stored if isinstance(stored, list) else []
    if strange := sum(_is_phantom(entry, ours) for entry in log):
        detail = f"activity_log shows {strange} enrolments in courses where the learner never was"
        yield Finding(Kind.ACTIVITY_LOG, Fault.DIFFERENT, subject, detail, about=about)


def _is_phantom(entry: object, ours: Mapping[ObjectId, datetime]) -> bool:
    """Exactly as the worker writes it, and not the worker's: an entry with more or less to it is the platform's."""
    if not isinstance(entry, Mapping) or entry.keys() != {"action", "course_id", "timestamp"}:
        return False
    action, course = entry["action"], entry["course_id"]
    return action == ENROLMENT and isinstance(course, ObjectId) and course not in ours
