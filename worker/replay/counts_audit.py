"""Holds what was counted against what it was counted from: values of one snapshot in, findings out, no I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128

from projections.counts import (
    COUNTS_VERSION,
    LEARNING,
    TEACHING,
    ActivityEntry,
    Counted,
    Payment,
    Step,
    count_learner,
    course_stats,
    last_enrolments,
    user_stats,
)
from projections.counts.activity import LOG_CAP
from projections.event import StoredEvent
from worker.replay.verification import Finding, FindingKind
from worker.storage.outbox import LATE, notification_id
from worker.storage.refused_rows import payment_target, row_item_id

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}


@dataclass(frozen=True, slots=True)
class Judged:
    """What is wrong; what merely waits to be counted; and whether other code counted it, which is not judged."""

    findings: Sequence[Finding] = ()
    late: Finding | None = None
    other_version: bool = False


@dataclass(frozen=True, slots=True)
class Learner:
    """One learner in one course as one snapshot shows them: record and projection (not both absent).

    `payments` are those up to the counted version. `rows` are outbox rows by id, `billing` billing rows by
    transaction, both of any learners. `aside` are the open items of rows that the server refuses.
    """

    record: Document | None
    projection: Document | None
    payments: Sequence[Payment] = ()
    rows: Mapping[str, Document] = field(default_factory=dict)
    billing: Mapping[str, Document] = field(default_factory=dict)
    aside: Set[str] = frozenset()


def milestone_item(kind: str, record: Document) -> str:
    """The item of a milestone's row, where the server refuses it."""
    return row_item_id(("welcome" if kind == "welcome" else "completion", record["_id"]))


def payment_item(payment: Payment) -> str:
    """The item of a payment's row, where the server refuses it."""
    return row_item_id(payment_target(payment.event_id))


def judge_learner(learner: Learner) -> Judged:
    """Whether the projection is what its record says, and all it put out has its row."""
    record, projection = learner.record, learner.projection
    if record is None:
        subject = str(projection["stream_id"]) if projection else ""
        return Judged([Finding(FindingKind.PROJECTION_UNKNOWN, subject, "projection without a record")])
    stream = str(record["stream_id"])
    if projection is None:
        return Judged(late=Finding(FindingKind.PROJECTION_MISSING, stream, "not counted yet"))
    if projection["counts_version"] > COUNTS_VERSION:
        return Judged(other_version=True)
    revisions = f"counted at revision {projection['source_rev']} of {record['rev']}"
    outbox = list(_outbox_faults(stream, record, projection, learner))
    outbox += _billing_faults(stream, learner)
    if projection["source_rev"] > record["rev"]:
        return Judged([Finding(FindingKind.PROJECTION_AHEAD, stream, revisions), *outbox])
    if projection["source_rev"] < record["rev"] or projection["counts_version"] < COUNTS_VERSION:
        return Judged(outbox, late=Finding(FindingKind.PROJECTION_BEHIND, stream, revisions))
    try:
        step = count_learner(record, None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"its record cannot be counted: {type(error).__name__}"
        return Judged([Finding(FindingKind.PROJECTION_DIFFERENT, stream, detail), *outbox])
    return Judged([*_projection_faults(stream, step, projection), *outbox])


def _projection_faults(stream: str, step: Step | None, projection: Document) -> Iterator[Finding]:
    different = differing(step.projection, projection) if step else []
    if different:
        detail = f"differs from its record in {', '.join(different)}"
        yield Finding(FindingKind.PROJECTION_DIFFERENT, stream, detail)


def _outbox_faults(
    stream: str, record: Document, projection: Document, learner: Learner
) -> Iterator[Finding]:
    """Rows, or items of rows refused, are written with the projection that names them: one snapshot shows all."""
    for kind, name in MILESTONES.items():
        if kind not in projection["emitted"]:
            continue
        row = learner.rows.get(notification_id(kind, stream))
        if row is None:
            if milestone_item(kind, record) not in learner.aside:
                yield Finding(FindingKind.NOTIFICATION_MISSING, stream, f"no row for {kind}")
            continue
        if any(row[path] != projection[path] for path in ("stream_id", "user_id", "course_id")):
            yield Finding(FindingKind.NOTIFICATION_DIFFERENT, stream, f"{kind} names another learner")
        milestone = record["milestones"][name]
        silent = row["status"] == "suppressed" and row["channel"] is None
        if milestone is not None and silent != (milestone["by"] == "replay" or _is_late(row)):
            detail = f"{kind} is {row['status']}, the milestone was met by {milestone['by']}"
            yield Finding(FindingKind.NOTIFICATION_DIFFERENT, stream, detail)


def _is_late(row: Document) -> bool:
    """The row says that its milestone was too old when it was counted, under whatever setting that was."""
    reached_at = row["data"].get("reached_at")
    return row["last_error"] == LATE and isinstance(reached_at, datetime) and reached_at < row["created_at"]


def _billing_faults(stream: str, learner: Learner) -> Iterator[Finding]:
    """Each payment has its row: of this naming of the transaction, of a later one, or the platform's own."""
    for payment in learner.payments:
        row, named = learner.billing.get(payment.transaction_id), (payment.paid_at, payment.event_id)
        if payment_item(payment) in learner.aside:
            continue
        if row is None:
            yield Finding(FindingKind.BILLING_MISSING, stream, "a payment has no row")
        elif "event_id" in row and (row["created_at"], row["event_id"].bytes) < named:
            detail = "the row is of an earlier naming of its transaction"
            yield Finding(FindingKind.BILLING_DIFFERENT, stream, detail)


def judge_notification(row: Document, projection: Document | None) -> Iterator[Finding]:
    """A row must come from a milestone that was counted."""
    if row["kind"] in MILESTONES and (projection is None or row["kind"] not in projection["emitted"]):
        yield Finding(FindingKind.NOTIFICATION_UNKNOWN, row["stream_id"], f"{row['kind']} without milestone")


def judge_billing(row: Document, event: Document | None) -> Iterator[Finding]:
    """A row the worker wrote must be what its event says; `status` is the platform's from then on."""
    if "event_id" not in row:
        return
    subject = f"event {row['event_id']}"
    payment = StoredEvent.from_document(event).details.get("payment") if event else None
    if event is None or payment is None:
        yield Finding(FindingKind.BILLING_UNKNOWN, subject, "a billing row of no stored payment")
        return
    expected = {
        "user_id": event["event_data"]["user_id"],
        "course_id": event["event_data"]["course_id"],
        "amount": Decimal128(payment["amount"]),
        "currency": payment["currency"],
        "payment_method": payment["method"],
        "transaction_id": payment["transaction_id"],
        "created_at": event["occurred_at"],
    }
    if different := differing(expected, row):
        detail = f"the billing row differs from its event in {', '.join(different)}"
        yield Finding(FindingKind.BILLING_DIFFERENT, subject, detail)


def judge_course(course: Document, counted: Counted) -> Judged:
    """Whether the statistics are those of the sum over the course's projections."""
    subject, stats = f"course {course['_id']}", course.get("stats")
    if not isinstance(stats, Mapping) or "sums" not in stats:
        missing = Finding(FindingKind.STATISTICS_MISSING, subject, "learners are counted, none shown")
        return Judged(late=missing if counted else None)
    return _statistics(subject, course_stats(counted), stats)


@dataclass(frozen=True, slots=True)
class Person:
    """One user document and what one snapshot shows of them as a learner and as an instructor.

    `taught` is None where a course of theirs shows no statistics yet, so that nothing can be said.
    """

    user: Document
    learned: Counted
    entries: Sequence[ActivityEntry]
    taught: Counted | None


def judge_user(person: Person) -> Judged:
    """Whether the statistics are those of the sum over projections, and each enrolment is in the log once."""
    user = person.user
    subject, stats = f"user {user['_id']}", user.get("stats")
    sums = stats.get("sums") if isinstance(stats, Mapping) else None
    if not isinstance(stats, Mapping) or not isinstance(sums, Mapping):
        counted = bool(person.learned) or bool(person.taught)
        missing = Finding(FindingKind.STATISTICS_MISSING, subject, "counted, but nothing shown")
        return Judged(late=missing if counted else None)
    taught = person.taught
    if taught is not None:
        taught = taught.only(TEACHING) if taught or "teaching" in sums else None
    expected = user_stats(person.learned.only(LEARNING), taught)
    if taught is None:
        stats = {**stats, "sums": {"learning": sums.get("learning")}}
    judged = _statistics(subject, expected, stats)
    return Judged([*judged.findings, *_log_faults(subject, user.get("activity_log"), person.entries)])


def _statistics(subject: str, expected: Document, stats: Document) -> Judged:
    different = differing(expected, stats)
    if not different:
        return Judged()
    detail = f"stats differ from the sum over projections in {', '.join(different)}"
    return Judged([Finding(FindingKind.STATISTICS_DIFFERENT, subject, detail)])


def _log_faults(subject: str, stored: object, entries: Sequence[ActivityEntry]) -> Iterator[Finding]:
    """The last enrolments once each, as dated in their records, in their order."""
    ours = {entry.course_id: entry.timestamp for entry in entries}
    expected = sorted((at, course) for course, at in ours.items())[-LOG_CAP:]
    shown = last_enrolments(stored, ours.keys())
    if shown != expected:
        detail = f"activity_log shows {len(shown)} enrolments of {len(expected)}, or other dates"
        yield Finding(FindingKind.ACTIVITY_LOG_DIFFERENT, subject, detail)


def differing(expected: Document, stored: Document) -> list[str]:
    """Names of `expected` whose stored value is another one; the validators see to the types."""
    return [name for name, value in expected.items() if stored.get(name) != value]


def instructor_of(course: Document) -> ObjectId | None:
    """`instructor_id`, else `instructor.user_id`: the specification has both."""
    nested = course.get("instructor")
    named: Iterable[Any] = (course.get("instructor_id"), nested.get("user_id") if nested else None)
    return next((each for each in named if isinstance(each, ObjectId)), None)
