"""A counted history: what the worker makes of records, through its own pure parts, stored directly."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bson import ObjectId

from projections.counts import (
    Counted,
    Step,
    Taught,
    Teaching,
    count_learner,
    course_stats,
    merged_log,
    teaching_in,
    user_stats,
    vector,
)
from tests.integration.verify.history import COURSE, START, Learner
from tests.support.billing import bill
from worker.contract.enrolment_payments import names_payment
from worker.contract.identity import foreign_object_id
from worker.storage.database import Database, Document
from worker.storage.outbox import notification_row

INSTRUCTOR = foreign_object_id("instructor")


@dataclass(frozen=True, slots=True)
class CountedHistory:
    """Everything that follows from some learners of one course, as documents."""

    projections: Sequence[Document]
    notifications: Sequence[Document]
    course: Document
    users: Sequence[Document]
    instructor: Document


def counted(learners: Iterable[Learner]) -> CountedHistory:
    """What the counts role writes for these learners, their course, themselves and their instructor."""
    steps = [step for each in learners if (step := count_learner(each.progress, None))]
    sums = sum((vector(each.progress) for each in learners), Counted())
    students = len({step.projection["user_id"] for step in steps})
    taught = Teaching(Taught(sums.enrolled, sums.rated, sums.rating, students, courses=1))
    return CountedHistory(
        [step.projection for step in steps],
        [row for step in steps for row in _rows(step)],
        course_document(course_stats(sums)),
        [*_learners(steps), {**user_document(INSTRUCTOR), "stats": user_stats(Counted(), taught)}],
        {"_id": INSTRUCTOR, **taught.document()},
    )


async def store_counted(database: Database, history: CountedHistory, learners: Iterable[Learner]) -> None:
    """Put it into its collections; the learners' payments become what the worker makes of them."""
    await database.user_progress_projections.insert_many(list(history.projections))
    if history.notifications:
        await database.notifications.insert_many(list(history.notifications))
    await database.courses.insert_one(history.course)
    await database.users.insert_many(list(history.users))
    await database.collection("instructor_statistics").insert_one(history.instructor)
    paid = [event for each in learners for event in each.events if names_payment(event)]
    if paid:
        await bill(database, paid)
        await _show_revenue(database)


async def _show_revenue(database: Database) -> None:
    """Counting does it for the courses that it has counted, which these were not."""
    revenue = await database.collection("course_revenue").find_one({"_id": COURSE}) or {"revenue": {}}
    kept = await database.collection("instructor_statistics").find_one({"_id": INSTRUCTOR})
    teaching = teaching_in({**(kept or {}), "revenue": revenue["revenue"]})
    assert teaching is not None
    await database.collection("instructor_statistics").update_one(
        {"_id": INSTRUCTOR}, {"$set": teaching.document()}
    )
    stats = user_stats(Counted(), teaching)
    await database.users.update_one({"_id": INSTRUCTOR}, {"$set": {"stats": stats}})


def course_document(stats: Document | None = None) -> Document:
    document: Document = {
        "_id": COURSE,
        "title": "Statistics",
        "slug": "statistics",
        "instructor_id": INSTRUCTOR,
        "status": "published",
        "created_at": START,
    }
    return document if stats is None else {**document, "stats": stats}


def user_document(user_id: ObjectId) -> Document:
    return {"_id": user_id, "email": f"{user_id}@example.org", "username": str(user_id)}


def _learners(steps: Sequence[Step]) -> list[Document]:
    entries: dict[ObjectId, list[Any]] = defaultdict(list)
    learned: dict[ObjectId, Counted] = defaultdict(Counted)
    for step in steps:
        user_id = step.projection["user_id"]
        learned[user_id] += Counted(**step.projection["counted"])
        entries[user_id] += [step.enrolment] if step.enrolment else []
    return [
        {
            **user_document(user_id),
            "stats": user_stats(sums, None),
            "activity_log": merged_log(None, entries[user_id]),
        }
        for user_id, sums in learned.items()
    ]


def _rows(step: Step) -> list[Document]:
    who = (step.projection["stream_id"], step.projection["user_id"], step.projection["course_id"])
    return [
        notification_row(
            each.kind,
            *who,
            by=each.by,
            data={"percentage": each.percentage, "reached_at": each.at},
            now=START + timedelta(hours=1),
        )
        for each in step.milestones
    ]
