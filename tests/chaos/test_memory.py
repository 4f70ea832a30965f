"""Learners of long courses, large events and long logs: a worker with all roles stays within its memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId

from projections.event import StoredEvent
from tests.chaos.running_worker import RunningWorker, settings, working
from tests.chaos.target import uncounted_records
from tests.chaos.test_slow_sink import PEAK_MIB, peak_mib
from tests.conftest import RunningMongo
from tests.support.counts import Learner, add_course, course
from tests.support.ingest import event as sent_event
from tests.support.ingest import records, send
from tests.support.waiting import until
from tests.unit.projections.events import arrive, course_event
from worker.contract.identity import stream_id, stream_object_id, stream_slot
from worker.storage.database import Database, Document

LEARNERS = 500
LESSONS = (200, 1_000)
LARGE_EVENTS = 4_000
LARGE = 60_000
DOUBTED = 60
LOG_ENTRIES = 500
NOW = datetime.now(UTC)


def somebody(number: int, lessons: int) -> Learner:
    return Learner(course(lessons), ObjectId(f"{lessons:04x}{number:020x}"))


def finished(lessons: int) -> tuple[Learner, Document]:
    """A learner who has done every lesson, and the record."""
    learner = somebody(0, lessons).enrol(lessons=lessons).finish(lessons=lessons)
    return learner, learner.record()


def like(record: Document, learner: Learner) -> Document:
    """The same record for another learner of the course."""
    stream = stream_id(learner.course, learner.user)
    identity = {"_id": stream_object_id(stream), "stream_id": stream, "slot": stream_slot(stream)}
    return {**record, **identity, "user_id": learner.user, "rev": 1}


def stored(learner: Learner, events: Sequence[StoredEvent]) -> list[Document]:
    """The events as `learner`'s."""
    stream = stream_id(learner.course, learner.user)
    return [
        course_event(replace(each, event_id=uuid4(), stream_id=stream, user_id=learner.user, recorded_at=NOW))
        for each in events
    ]


async def add_users(database: Database, lessons: int) -> None:
    """Each with a long log of the platform's own."""
    log = [{"action": "login", "timestamp": NOW, "page": f"/{number}"} for number in range(LOG_ENTRIES)]
    for number in range(LEARNERS):
        user = somebody(number, lessons).user
        document = {"_id": user, "email": f"{user}@example.com", "username": str(user), "activity_log": log}
        await database.users.insert_one(document)


async def until_current(worker: RunningWorker, database: Database, versions: dict[ObjectId, int]) -> None:
    """Records have these versions, and are counted."""

    async def current() -> bool:
        worker.process.require_alive()
        query = {"_id": {"$in": list(versions)}}
        found = await database.user_progress.find(query, {"version": 1}).to_list(None)
        return {each["_id"]: each["version"] for each in found} == versions and not await uncounted_records(
            database
        )

    await until(current, "all folded and counted", 600.0)


def note(step: str, worker: RunningWorker) -> None:
    print(f"{step}: at most {peak_mib(worker):.0f} MiB")  # noqa: T201 - shown by -rP


@pytest.mark.long
async def test_learners_of_long_courses_and_large_events_fit_into_the_memory_of_one_worker(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    chosen = {**settings(mongodb.uri, database, kafka, topic), "SEVENP_INGEST_MAX_RECORDS": "5000"}
    async with working(chosen, tmp_path / "worker.log") as worker:
        note("at rest", worker)
        for lessons in LESSONS:
            await many_learners(worker, database, lessons)
            note(f"{LEARNERS} learners of {lessons} lessons", worker)
        await comparisons(worker, database, LESSONS[0])
        note(f"{DOUBTED} records compared", worker)
        await large_events(worker, database, kafka, topic)
        note(f"{LARGE_EVENTS} events of {LARGE} bytes", worker)
        assert peak_mib(worker) <= PEAK_MIB


async def many_learners(worker: RunningWorker, database: Database, lessons: int) -> None:
    """All of them move at once."""
    template, record = finished(lessons)
    await add_course(database, lessons)
    await add_users(database, lessons)
    everybody = [somebody(number, lessons) for number in range(LEARNERS)]
    for start in range(0, LEARNERS, 10):
        await database.user_progress.insert_many(
            [like(record, each) for each in everybody[start : start + 10]]
        )
    last = record["version"]
    await until_current(worker, database, {each.identity: last for each in everybody})
    more = arrive([template.event("question_asked", 5_000)], after=last)
    await database.course_events.insert_many([one for each in everybody for one in stored(each, more)])
    await until_current(worker, database, {each.identity: last + 1 for each in everybody})


async def comparisons(worker: RunningWorker, database: Database, lessons: int) -> None:
    """Records somebody else wrote to, all of whose events are read at once."""
    template, record = finished(lessons)
    items: list[dict[str, Any]] = []
    for number in range(DOUBTED):
        learner = somebody(number, lessons)
        await database.course_events.insert_many(stored(learner, arrive(template.events)))
        await database.user_progress.update_one({"_id": learner.identity}, {"$set": {"status": "dropped"}})
        data = {"user_id": learner.user, "course_id": learner.course}
        items.append({"event_type": "progress_updated", "data": data, "status": "pending", "retry_count": 0})
    await database.analytics_queue.insert_many([{**one, "created_at": NOW} for one in items])

    async def compared() -> bool:
        worker.process.require_alive()
        return await database.analytics_queue.count_documents({"status": "completed"}) == DOUBTED

    await until(compared, "all compared", 600.0)
    assert await database.user_progress.count_documents({"status": "dropped"}) == 0
    assert record["status"] == "active"


async def large_events(worker: RunningWorker, database: Database, kafka: str, topic: str) -> None:
    for start in range(0, LARGE_EVENTS, 500):
        some = [
            sent_event(number % 100, details={"text": "x" * LARGE}) for number in range(start, start + 500)
        ]
        await send(kafka, topic, records(some))
    learners = [Learner(ObjectId(one["course_id"]), ObjectId(one["user_id"])) for one in some[:100]]
    await until_current(worker, database, {each.identity: LARGE_EVENTS // 100 for each in learners})
