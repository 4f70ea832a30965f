"""Holds statistics, activity logs, outbox and billing against what follows from the simulator's ledger."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bson import ObjectId

from worker.devstack.demo.progress_check import Difference, differences, scaled
from worker.devstack.demo.stored import documents_by
from worker.devstack.simulator.ledger import CURRENCY, FULL, LedgerEntry
from worker.devstack.simulator.platform_documents import PROFILE_VIEWS, Timing
from worker.devstack.simulator.simulation import Simulation
from worker.devstack.simulator.totals import STARS, CourseTotal, InstructorTotal, LearnerTotal
from worker.storage.database import Database, Document

_KINDS = ("welcome", "completion")

Figures = tuple[Mapping[str, object], Mapping[str, object]]
"""What a document must show, and what it shows, by name."""


@dataclass(frozen=True, slots=True)
class StoredDocuments:
    """What the platform shows of a simulation's courses and people, and what was put out for them.

    Documents by id in hex, outbox rows by id, billing rows by transaction.
    """

    courses: Mapping[str, Document]
    users: Mapping[str, Document]
    notifications: Mapping[str, Document]
    billing: Mapping[str, Document]


async def read_stored(database: Database, simulation: Simulation) -> StoredDocuments:
    """Read all that `compare_statistics` looks at."""
    ledger, expected = simulation.ledger, simulation.totals
    people = [each.user_id for each in expected.learners] + [each.user_id for each in expected.instructors]
    rows = [row_id for entry in ledger for row_id in _row_ids(entry)]
    paid = [entry.transaction_id for entry in ledger if entry.transaction_id]
    course_ids = [ObjectId(each.course_id) for each in expected.courses]
    user_ids = [ObjectId(user_id) for user_id in people]
    return StoredDocuments(
        _in_hex(await documents_by(database.courses, "_id", course_ids)),
        _in_hex(await documents_by(database.users, "_id", user_ids)),
        await documents_by(database.notifications, "_id", rows),
        await documents_by(database.billing_transactions, "transaction_id", paid),
    )


def _in_hex(documents: Mapping[ObjectId, Document]) -> dict[str, Document]:
    return {str(identity): document for identity, document in documents.items()}


def compare_statistics(simulation: Simulation, stored: StoredDocuments) -> list[Difference]:
    """Every difference, of documents the platform wrote and of those that must not be there."""
    return list(_compare(simulation, stored))


def _compare(simulation: Simulation, stored: StoredDocuments) -> Iterator[Difference]:
    written = simulation.documents(Timing.BEFORE, Timing.AFTER)
    present = {str(each.document["_id"]) for each in written}

    def compare(
        subject: str, identity: str, documents: Mapping[str, Document], figures: Callable[[Document], Figures]
    ) -> Iterator[Difference]:
        subject, document = f"{subject} {identity}", documents.get(identity)
        there = {"document": document is not None}
        yield from differences(subject, {"document": identity in present}, there)
        if document:
            yield from differences(subject, *figures(document))

    totals = simulation.totals
    for course in totals.courses:
        yield from compare("course", course.course_id, stored.courses, partial(_course, course))
    for learner in totals.learners:
        yield from compare("learner", learner.user_id, stored.users, partial(_learner, learner))
    for instructor in totals.instructors:
        yield from compare("instructor", instructor.user_id, stored.users, partial(_instructor, instructor))
    come_to = {
        str(each.fields["transaction_id"]): str(each.fields["status"])
        for each in simulation.platform.expected("billing_transactions")
    }
    for entry in simulation.ledger:
        yield from _outbox(entry, stored.notifications)
        yield from _billing(entry, stored.billing, come_to)


def _course(course: CourseTotal, document: Document) -> Figures:
    stats: Mapping[str, Any] = document.get("stats", {})
    enrolments, ratings = stats.get("enrollments", {}), stats.get("ratings", {})
    engagement, distribution = stats.get("engagement", {}), ratings.get("distribution", {})
    expected = {
        "total": course.total,
        "active": course.active,
        "completed": course.completed,
        "reviews": course.reviews,
        "rating_average": course.rating_average,
        "distribution": course.distribution,
        "completion_rate": course.completed / course.total,
        "average_progress": course.progress / (course.total * FULL),
        "discussion_posts": course.discussion_posts,
        "questions_asked": course.questions_asked,
    }
    shown = {
        **{name: enrolments.get(name) for name in ("total", "active", "completed")},
        "reviews": ratings.get("total_reviews"),
        "rating_average": scaled(ratings.get("average"), 100),
        "distribution": tuple(distribution.get(str(star)) for star in STARS),
        **{name: engagement.get(name) for name in ("completion_rate", "average_progress")},
        **{name: engagement.get(name) for name in ("discussion_posts", "questions_asked")},
    }
    return expected, shown


def _learner(learner: LearnerTotal, document: Document) -> Figures:
    stats: Mapping[str, Any] = document.get("stats", {})
    names = ("courses_enrolled", "courses_completed", "certificates_earned")
    enrolments = [
        str(entry["course_id"])
        for entry in document.get("activity_log", ())
        if entry["action"] == "course_enrollment"
    ]
    expected = {name: getattr(learner, name) for name in names} | {"enrolments": learner.course_ids}
    shown = {name: stats.get(name) for name in names} | {"enrolments": tuple(sorted(enrolments))}
    return expected, shown


def _instructor(instructor: InstructorTotal, document: Document) -> Figures:
    """The worker's figures, and one of the platform's, which must have stayed."""
    stats: Mapping[str, Any] = document.get("stats", {})
    expected = {
        "courses_created": instructor.courses_created,
        "total_students": instructor.total_students,
        "rating_average": instructor.rating_average,
        "revenue": instructor.revenue,
        "profile_views": PROFILE_VIEWS,
    }
    shown = {
        **{name: stats.get(name) for name in ("courses_created", "total_students", "profile_views")},
        "rating_average": scaled(stats.get("avg_rating"), 100),
        "revenue": f"{stats.get('revenue', {}).get(CURRENCY, 0.0):.2f}",
    }
    return expected, shown


def _row_ids(entry: LedgerEntry) -> list[str]:
    """Of the rows a learner in a course may have: one of each kind."""
    return [f"{kind}:course_{entry.course_id}_user_{entry.user_id}" for kind in _KINDS]


def _outbox(entry: LedgerEntry, rows: Mapping[str, Document]) -> Iterator[Difference]:
    """A welcome always, a completion for who finished; `suppressed` without a channel is a replay's, never live."""
    welcome, completion = _row_ids(entry)
    for row_id, expected in ((welcome, True), (completion, entry.finished)):
        row = rows.get(row_id)
        silenced = row is not None and row["status"] == "suppressed" and row["channel"] is None
        shown = {"row": row is not None, "sent by whoever met it live": not silenced}
        yield from differences(
            f"notification {row_id}", {"row": expected, "sent by whoever met it live": True}, shown
        )


def _billing(
    entry: LedgerEntry, rows: Mapping[str, Document], come_to: Mapping[str, str]
) -> Iterator[Difference]:
    """The payment that an enrolment names; it is completed, unless more became of it."""
    if entry.transaction_id is None:
        return iter(())
    row: Mapping[str, Any] = rows.get(entry.transaction_id, {})
    expected = {
        "user_id": entry.user_id,
        "course_id": entry.course_id,
        "amount": entry.amount,
        "status": come_to.get(entry.transaction_id, "completed"),
    }
    return differences(
        f"transaction {entry.transaction_id}", expected, {name: str(row.get(name)) for name in expected}
    )
