"""Compares statistics and activity logs with the sum over projections: values in, findings out, no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.counts import (
    Counted,
    Teaching,
    course_stats,
    last_enrolments,
    social_proof,
    teaching_in,
    user_stats,
)
from projections.counts.activity import ENROLMENT, LOG_CAP
from projections.counts.teaching import INSTRUCTORS_COLLECTION, teaching_stats
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
    taught: Teaching | None


def check_course(course: Document, counted: Counted, teaching: Teaching | None = None) -> CheckResult:
    """Whether the statistics are those of the sum over the course's projections.

    What it says of its instructor, of whom `teaching` is kept, follows some seconds later.
    """
    subject, stats = f"course {course['_id']}", course.get("stats")
    if not isinstance(stats, Mapping) or "sums" not in stats:
        return (
            _missing(subject, ("courses", course), "learners are counted, none shown")
            if counted
            else CheckResult()
        )
    about = ("courses", course["_id"])
    findings = list(_audit_statistics(subject, course_stats(counted), stats, about))
    return CheckResult(
        findings, _behind(subject, about, "instructor.social_proof", _unproven(course, teaching))
    )


def check_instructor(kept: Document, teaching: Teaching | None) -> CheckResult:
    """Whether what is kept of an instructor is what their courses add up to; what was paid follows in seconds."""
    subject, about = f"instructor {kept['_id']}", (INSTRUCTORS_COLLECTION, kept["_id"])
    shown = teaching_in(kept)
    if teaching is None:
        return CheckResult()
    late = shown is not None and shown.revenue != teaching.revenue
    wanted = replace(teaching, revenue=shown.revenue) if late and shown is not None else teaching
    what = "what is kept differs from the sum over courses in"
    findings = differs(Kind.STATISTICS, subject, what, differing(wanted.document(), kept), about=about)
    return CheckResult(list(findings), _behind(subject, about, "revenue", late))


def missing_instructor(instructor: ObjectId) -> CheckResult:
    """Nothing is kept of somebody who is counted as the instructor of a course."""
    subject, about = f"instructor {instructor}", (INSTRUCTORS_COLLECTION, instructor)
    detail = "courses are counted, nothing is kept"
    return CheckResult(waiting=Finding(Kind.STATISTICS, Fault.MISSING, subject, detail, about=about))


def check_user(person: Person) -> CheckResult:
    """Whether the statistics are those of the sum over projections, and each enrolment is in the log once.

    What was paid for the courses of an instructor follows some seconds later, in whatever currency a setting says.
    """
    user = person.user
    subject, stats = f"user {user['_id']}", user.get("stats")
    sums = stats.get("sums") if isinstance(stats, Mapping) else None
    taught = person.taught
    if not isinstance(stats, Mapping) or not isinstance(sums, Mapping):
        counted = person.learned or (taught is not None and taught != Teaching())
        return _missing(subject, ("users", user), "counted, but nothing shown") if counted else CheckResult()
    if taught == Teaching() and "teaching" not in sums:
        taught = None
    shown = teaching_in(sums.get("teaching"))
    late = taught is not None and shown is not None and shown.revenue != taught.revenue
    if late and taught is not None and shown is not None:
        taught = replace(taught, revenue=shown.revenue)
    expected = user_stats(person.learned, taught, _currency_of(taught, stats))
    if taught is None:
        stats = {**stats, "sums": {"learning": sums.get("learning")}}
    about = ("users", user["_id"])
    log = _audit_log(subject, user.get("activity_log"), person.enrolled, about)
    findings = [*_audit_statistics(subject, expected, stats, about), *log]
    return CheckResult(findings, _behind(subject, about, "stats.revenue", late))


def _currency_of(taught: Teaching | None, stats: Document) -> str:
    """The currency that `total_revenue` may be in."""
    shown = {} if taught is None else teaching_stats(taught, "")["revenue"]
    return next((name for name, amount in shown.items() if amount == stats.get("total_revenue")), "")


def _unproven(course: Document, teaching: Teaching | None) -> bool:
    instructor = course.get("instructor")
    if teaching is None or not isinstance(instructor, Mapping):
        return False
    return bool(differing(social_proof(teaching), instructor.get("social_proof") or {}))


def _behind(subject: str, about: tuple[str, Any], path: str, is_behind: bool) -> Finding | None:
    """What is not shown yet: wrong only where nothing is under way."""
    detail = f"{path} is not what the sums say"
    return Finding(Kind.STATISTICS, Fault.DIFFERENT, subject, detail, about=about) if is_behind else None


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
