"""`progress_updated`: the learner's record is compared with all of its events, and what differs is replaced."""

import asyncio
import tracemalloc
from typing import Any

import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId

from tests.support.matrices import one_of_each
from tests.support.progress import documents, expected, histories, interleaved, projector, store
from tests.support.retry import folding, item, put, running
from worker.contract.identity import stream_object_id
from worker.storage.database import Database, Document

FAR = DatetimeMS(253_402_300_800_000)

DAMAGES: dict[str, Any] = {
    "a number": {"$set": {"progress.percentage": 3.5}},
    "a count as a double": {"$set": {"social.questions_asked": 0.0}},
    "a count as a long": {"$set": {"progress.completed_lessons": Int64(0)}},
    "a part removed": {"$unset": {"time_tracking.total_seconds": 1}},
    "the working memory": {"$set": {"state.time_ms": 1}},
    "the working memory removed": {"$unset": {"state": 1}},
    "the working memory a text": {"$set": {"state": "none"}},
    "lessons emptied": {"$set": {"lesson_progress": []}},
    "milestones a text": {"$set": {"milestones": "all"}},
    "a milestone a number": {"$set": {"milestones.welcome": 7}},
    "a version far ahead": {"$set": {"version": 4_000_000}},
    "a version of nothing": {"$unset": {"version": 1}},
    "a version behind": {"$set": {"version": 2}},
    "a version that is a text": {"$set": {"version": "two"}},
    "no projection version": {"$unset": {"projection_version": 1}},
    "a projection version that is a text": {"$set": {"projection_version": "new"}},
    "a revision that is a text": {"$set": {"rev": "x", "status": "dropped"}},
    "a revision removed": {"$unset": {"rev": 1, "status": 1}},
    "a revision that is the last": {"$set": {"rev": Int64(2**63 - 1), "status": "dropped"}},
    "a revision that is an array": {"$set": {"rev": [1, Decimal128("1")], "status": "dropped"}},
    "a date after the year 9999": {"$set": {"time_tracking.last_activity": FAR}},
    "a date after the year 9999 in a milestone": {"$set": {"milestones.welcome.at": FAR}},
    "another learner": {"$set": {"stream_id": "course_x", "user_id": ObjectId()}},
}


async def damage(database: Database, identity: ObjectId, update: Any) -> None:
    await database.user_progress.update_one({"_id": identity}, update, bypass_document_validation=True)


@pytest.mark.parametrize("name", one_of_each(DAMAGES))
async def test_a_record_somebody_else_wrote_to_is_replaced(database: Database, name: str) -> None:
    streams = histories(learners=2, events=12)
    await store(database, interleaved(streams))
    await projector(database).project(dict.fromkeys(streams, 12))
    before = await whole(database)
    damaged, sound = (stream_object_id(stream) for stream in streams)
    await damage(database, damaged, DAMAGES[name])
    data = {name: before[damaged][name] for name in ("user_id", "course_id")}
    async with running(database, folding(database)) as retry:
        await put(database, [item("asked", event_type="progress_updated", data=data)])
        await retry.until_status("completed", 1)
    after = await whole(database)
    assert after.pop(sound) == before.pop(sound)
    assert without_by(after[damaged]) == without_by(before[damaged])
    assert isinstance(after[damaged]["rev"], int)


async def whole(database: Database) -> dict[ObjectId, Document]:
    return {each["_id"]: each async for each in database.user_progress.find({})}


def without_by(record: Document) -> Document:
    """A record but for its revision, and for who met its milestones: that was in what was damaged."""
    milestones = {kind: one and {**one, "by": None} for kind, one in record["milestones"].items()}
    return {**typed(record), "milestones": milestones, "rev": None}


def typed(record: Document) -> Document:
    return {name: repr(value) if name != "milestones" else value for name, value in record.items()}


async def test_a_record_that_is_right_keeps_its_revision(database: Database) -> None:
    streams = histories(learners=1, events=12)
    await store(database, interleaved(streams))
    await projector(database).project(dict.fromkeys(streams, 12))
    before = await whole(database)
    async with running(database, folding(database)) as retry:
        await put(database, [item("asked", next(iter(streams)), event_type="progress_updated")])
        await retry.until_status("completed", 1)
    assert await whole(database) == before


async def test_comparing_beside_a_learner_that_moves_loses_nothing(database: Database) -> None:
    streams = histories(learners=5, events=60)
    await store(database, interleaved(streams, last=10))
    live = projector(database)
    await live.project(dict.fromkeys(streams, 10))

    async def move() -> None:
        for version in range(11, 61):
            await store(database, interleaved(streams, first=version, last=version))
            await live.project(dict.fromkeys(streams, version))

    async with running(database, folding(database)) as retry:
        moving = asyncio.create_task(move())
        round_number = 0
        while not moving.done():
            round_number += 1
            names = {f"{round_number}:{stream}": stream for stream in streams}
            await put(
                database,
                [item(name, stream, event_type="progress_updated") for name, stream in names.items()],
            )
            await retry.until_status("completed", 5 * round_number)
        await moving
    assert await documents(database) == await expected(database)


async def test_a_damaged_record_whose_fold_failed_is_made_again_by_its_retry(database: Database) -> None:
    streams = histories(learners=1, events=12)
    [stream] = streams
    await store(database, interleaved(streams, last=6))
    live = projector(database)
    await live.project({stream: 6})
    await damage(database, stream_object_id(stream), {"$set": {"state": "none"}})
    await store(database, interleaved(streams, first=7))
    await projector(database).project({stream: 12})
    assert await database.analytics_queue.count_documents({"status": "pending"}) == 1
    async with running(database, folding(database)) as retry:
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)


async def test_items_with_much_data_of_others_cost_what_is_read_of_them(database: Database) -> None:
    streams = histories(learners=4, events=12)
    await store(database, interleaved(streams))
    for number, events in enumerate(streams.values()):
        data = {name: events[0]["event_data"][name] for name in ("user_id", "course_id")}
        more = {**data, "snapshot": "x" * 12_000_000, "until": FAR}
        await put(database, [item(f"asked {number}", event_type="progress_updated", data=more)])
    tracemalloc.start()
    try:
        async with running(database, folding(database)) as retry:
            await retry.until_status("completed", len(streams))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert await documents(database) == await expected(database)
