"""Holds statistics, activity logs, outbox and billing against what follows from the simulator's ledger."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from worker.chunks import chunks
from worker.devstack.demo.progress_check import Difference, differences, scaled
from worker.devstack.demo.stored import IDS_AT_ONCE
from worker.devstack.simulator.ledger import FULL, LedgerEntry
from worker.devstack.simulator.platform_documents import REVENUE, Moment
from worker.devstack.simulator.simulation import Simulation
from worker.devstack.simulator.totals import STARS, CourseTotal, InstructorTotal, LearnerTotal
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated

_KINDS = ("welcome", "completion")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the platform shows of a simulation's courses and people, and what was put out for them.

    Documents by id in hex, outbox rows by id, billing rows by transaction.
    """

    courses: Mapping[str, Document]
    users: Mapping[str, Document]
    notifications: Mapping[str, Document]
    billing: Mapping[str, Document]


async def read_shown(database: Database, simulation: Simulation) -> Shown:
    """Read all that `compare_statistics` looks at."""
    ledger, expected = simulation.ledger, simulation.totals
    people = [each.user_id for each in expected.learners] + [each.user_id for each in expected.instructors]
    rows = [row_id for entry in ledger for row_id in _row_ids(entry)]
    paid = [entry.transaction_id for entry in ledger if entry.transaction_id]
    return Shown(
        await _by(database.courses, "_id", [ObjectId(each.course_id) for each in expected.courses]),
        await _by(database.users, "_id", [ObjectId(user_id) for user_id in people]),
        await _by(database.notifications, "_id", rows),
        await _by(database.billing_transactions, "transaction_id", paid),
    )


def compare_statistics(simulation: Simulation, shown: Shown) -> list[Difference]:
    """Every difference, of documents the platform wrote and of those that must not be there."""
    return list(_compare(simulation, shown))


def _compare(simulation: Simulation, shown: Shown) -> Iterator[Difference]:
    written = simulation.documents(Moment.BEFORE, Moment.AFTER)
    present = {str(each.document["_id"]) for each in written}
    for course in simulation.totals.courses:
        document = shown.courses.get(course.course_id)
        subject = f"course {course.course_id}"
        yield from _presence(subject, course.course_id in present, document)
        yield from _course(subject, course, document) if document else ()
    for learner in simulation.totals.learners:
        document = shown.users.get(learner.user_id)
        subject = f"learner {learner.user_id}"
        yield from _presence(subject, learner.user_id in present, document)
        yield from _learner(subject, learner, document) if document else ()
    for instructor in simulation.totals.instructors:
        document = shown.users.get(instructor.user_id)
        subject = f"instructor {instructor.user_id}"
        yield from _presence(subject, instructor.user_id in present, document)
        yield from _instructor(subject, instructor, document) if document else ()
    for entry in simulation.ledger:
        yield from _outbox(entry, shown.notifications)
        yield from _billing(entry, shown.billing)


def _presence(subject: str, expected: bool, document: Document | None) -> Iterator[Difference]:
    return differences(subject, {"document": expected}, {"document": document is not None})


def _course(subject: str, course: CourseTotal, document: Document) -> Iterator[Difference]:
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
    return differences(subject, expected, shown)


def _learner(subject: str, learner: LearnerTotal, document: Document) -> Iterator[Difference]:
    stats: Mapping[str, Any] = document.get("stats", {})
    names = ("courses_enrolled", "courses_completed", "certificates_earned")
    enrolments = [
        str(entry["course_id"])
        for entry in document.get("activity_log", ())
        if entry["action"] == "course_enrollment"
    ]
    expected = {name: getattr(learner, name) for name in names} | {"enrolments": learner.course_ids}
    shown = {name: stats.get(name) for name in names} | {"enrolments": tuple(sorted(enrolments))}
    return differences(subject, expected, shown)


def _instructor(subject: str, instructor: InstructorTotal, document: Document) -> Iterator[Difference]:
    """The worker's figures, and one of the platform's, which must have stayed."""
    stats: Mapping[str, Any] = document.get("stats", {})
    expected = {
        "total_students": instructor.total_students,
        "rating_average": instructor.rating_average,
        "total_revenue": REVENUE,
    }
    shown = {
        "total_students": stats.get("total_students"),
        "rating_average": scaled(stats.get("avg_rating"), 100),
        "total_revenue": stats.get("total_revenue"),
    }
    return differences(subject, expected, shown)


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


def _billing(entry: LedgerEntry, rows: Mapping[str, Document]) -> Iterator[Difference]:
    if entry.transaction_id is None:
        return iter(())
    row: Mapping[str, Any] = rows.get(entry.transaction_id, {})
    expected = {
        "user_id": entry.user_id,
        "course_id": entry.course_id,
        "amount": entry.amount,
        "status": "completed",
    }
    return differences(
        f"transaction {entry.transaction_id}", expected, {name: str(row.get(name)) for name in expected}
    )


async def _by(collection: Collection, path: str, keys: Iterable[object]) -> dict[str, Document]:
    found: dict[str, Document] = {}
    with translated():
        for some in chunks(keys, IDS_AT_ONCE):
            for document in await collection.find({path: {"$in": some}}).to_list(None):
                found[str(document[path])] = document
    return found
