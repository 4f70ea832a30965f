"""What folding and counting hold at once is bounded by bytes, however long a course or a log is."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import bson
import pytest
from bson import ObjectId

from projections.event import StoredEvent
from tests.support.counts import NOW, Learner, add_course, add_user, count, course
from tests.support.progress import documents, expected, projector
from tests.unit.projections.events import arrive, course_event
from worker.contract.identity import stream_id, stream_object_id, stream_slot
from worker.storage.database import Database, Document

MB = 1_000_000
LESSONS = 200


@contextmanager
def at_most(limit_bytes: int) -> Iterator[None]:
    """What Python holds of what the block makes stays below the limit at every moment."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes, f"{peak / MB:.0f} MB"


def of(user: ObjectId, events: list[StoredEvent]) -> list[Document]:
    """The events as this user's."""
    stream = stream_id(course(0), user)
    return [course_event(replace(each, event_id=uuid4(), stream_id=stream, user_id=user)) for each in events]


def copy(record: Document, user: ObjectId) -> Document:
    stream = stream_id(course(0), user)
    own = {"_id": stream_object_id(stream), "stream_id": stream, "slot": stream_slot(stream), "user_id": user}
    return {**record, **own, "rev": 1}


@pytest.mark.slow
async def test_learners_of_a_long_course_that_move_at_once_are_folded_some_at_a_time(
    database: Database,
) -> None:
    template = Learner(course(0), ObjectId()).enrol(lessons=LESSONS).finish(lessons=LESSONS)
    record = template.record()
    users = [ObjectId() for _ in range(200)]
    assert len(users) * len(bson.encode(record)) > 12 * MB
    for start in range(0, len(users), 20):
        await database.user_progress.insert_many([copy(record, user) for user in users[start : start + 20]])
    after = record["version"]
    more = arrive([template.event("question_asked", 5_000)], after=after)
    await database.course_events.insert_many([one for user in users for one in of(user, more)])
    with at_most(60 * MB):
        await projector(database).project({stream_id(course(0), user): after + 1 for user in users})
    right = {"version": after + 1, "rev": 2, "social.questions_asked": 1}
    assert await database.user_progress.count_documents(right) == len(users)


async def test_events_are_folded_some_at_a_time_and_what_no_fold_reads_stays_on_the_server(
    database: Database,
) -> None:
    learner = Learner(course(0), ObjectId()).enrol(lessons=LESSONS)
    for number in range(400):
        learner.meet(
            "view", number, lesson=number % 5, value=1, details={"time_spent": 1, "text": "x" * 60_000}
        )
    await database.course_events.insert_many(of(learner.user, arrive(learner.events)))
    with at_most(25 * MB):
        await projector(database).project({stream_id(course(0), learner.user): 401})
    assert await documents(database) == await expected(database)


async def noted(database: Database, users: list[ObjectId], notes: int) -> dict[str, int]:
    """Learners with notes as long as a note may be, of which no more than some fit."""
    for user in users:
        learner = Learner(course(0), user).enrol(lessons=LESSONS)
        for number in range(notes):
            learner.meet(
                "lesson_note_saved", number, lesson=number % 3, details={"text": f"{number}" + "x" * 4_000}
            )
        await database.course_events.insert_many(of(user, arrive(learner.events)))
    return {stream_id(course(0), user): notes + 1 for user in users}


@pytest.mark.slow
async def test_events_that_do_not_fit_are_read_on_wherever_the_bound_cuts(database: Database) -> None:
    heads = await noted(database, [ObjectId() for _ in range(7)], 300)
    with at_most(60 * MB):
        await projector(database).project(heads)
    assert await documents(database) == await expected(database)


async def test_records_doubted_whose_events_do_not_fit_are_folded_in_pages(database: Database) -> None:
    heads = await noted(database, [ObjectId() for _ in range(5)], 300)
    await projector(database).project(heads)
    before = await database.user_progress.find({}).to_list(None)
    await database.user_progress.update_many({}, {"$set": {"status": "dropped", "version": 7_000}})
    await projector(database, doubting=True).project(heads)
    after = await database.user_progress.find({}).to_list(None)
    assert [{**each, "rev": each["rev"] - 1} for each in after] == before


@pytest.mark.long
async def test_users_with_long_logs_are_counted_some_at_a_time(database: Database) -> None:
    await add_course(database, 0)
    log = [{"action": "login", "timestamp": NOW, "page": f"/{number}"} for number in range(700)]
    assert 150 * len(bson.encode({"log": log})) > 6 * MB
    learners = [Learner(course(0), ObjectId()).enrol() for _ in range(150)]
    for learner in learners:
        await add_user(database, learner.user, activity_log=log)
        await learner.store(database)
    with at_most(45 * MB):
        await count(database, learners)
    await assert_sums(database, len(learners))
    await database.users.update_many({}, {"$unset": {"stats": 1}})
    with at_most(45 * MB):
        await count(database, users=[learner.user for learner in learners])
    await assert_sums(database, len(learners))


async def assert_sums(database: Database, learners: int) -> None:
    found = await database.courses.find_one({"_id": course(0)})
    assert found is not None
    assert found["stats"]["enrollments"]["total"] == learners
    shown = {"stats.courses_enrolled": 1, "activity_log.course_id": course(0), "activity_log.page": "/699"}
    assert await database.users.count_documents(shown) == learners
