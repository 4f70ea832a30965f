"""Lost and doubted rows of the outbox are made again, and nobody is told anything twice by that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from tests.support.counts import EVER, Learner, count, course, dependencies, only, user
from worker.contract.identity import stream_id
from worker.storage.database import Database, Document
from worker.storage.outbox import LATE, REMADE, notification_id
from worker.storage.work_items import COUNTS_ROW
from worker.watch.sums.row_rebuild import RowRebuild

NEVER = DatetimeMS(253_402_300_800_000)


@asynccontextmanager
async def rebuilding(
    database: Database, *, within: timedelta = EVER, **how: Any
) -> AsyncIterator[RowRebuild]:
    given = dependencies(database)
    try:
        yield RowRebuild(given, within, **how)
    finally:
        await given.transactions.close()


def stream_of(learner: Learner) -> str:
    return stream_id(learner.course, learner.user)


async def counted_learner(database: Database, number: int = 0, **enrolment: Any) -> Learner:
    """One who has enrolled and finished: a welcome and a completion."""
    learner = await Learner(course(0), user(number)).enrol(**enrolment).finish().store(database)
    await count(database, [learner])
    return learner


async def rows(database: Database) -> dict[str, Document]:
    return {row["_id"]: row async for row in database.notifications.find({})}


async def test_a_lost_row_comes_back_suppressed_and_is_sent_only_by_word(database: Database) -> None:
    learner = await counted_learner(database)
    stream = stream_of(learner)
    before, key = await rows(database), notification_id("welcome", stream)
    await database.notifications.delete_one({"_id": key})
    async with rebuilding(database, dry=True) as rebuild:
        assert (await rebuild([stream])).numbers == {"made": 1}
    assert key not in await rows(database)
    for made in ({"made": 1}, {}):
        async with rebuilding(database) as rebuild:
            assert (await rebuild([stream])).numbers == made
    after = await rows(database)
    silent = {"status": "suppressed", "last_error": REMADE}
    assert {name: after[key][name] for name in silent} == silent
    dates = ("created_at", "due_at")
    assert {**after[key], **{n: before[key][n] for n in dates}} == {**before[key], **silent}
    async with rebuilding(database, send=True) as rebuild:
        assert (await rebuild([stream])).numbers == {"to_send": 1}
        assert (await rebuild([stream])).numbers == {}
    sent = (await rows(database))[key]
    assert {**sent, **{n: before[key][n] for n in dates}} == before[key]


async def test_what_a_replay_met_or_is_too_old_is_never_sent(database: Database) -> None:
    replayed = await Learner(course(0), user(0)).enrol().store(database, by="replay")
    await count(database, [replayed])
    old = await counted_learner(database, 1)
    await database.notifications.delete_many({})
    async with rebuilding(database, send=True) as rebuild:
        assert (await rebuild([stream_of(replayed)])).numbers == {"made": 1}
    async with rebuilding(database, send=True, within=timedelta(hours=1)) as rebuild:
        assert (await rebuild([stream_of(old)])).numbers == {"made": 2}
    found = await rows(database)
    assert {row["status"] for row in found.values()} == {"suppressed"}
    assert found[notification_id("welcome", stream_of(replayed))]["last_error"] is None
    assert found[notification_id("completion", stream_of(old))]["last_error"] == LATE


async def test_a_row_that_the_server_refused_is_left_to_its_item(database: Database) -> None:
    learner = await counted_learner(database)
    key = notification_id("welcome", stream_of(learner))
    await database.notifications.delete_one({"_id": key})
    item = {
        "_id": f"counts:welcome:{learner.identity}",
        "event_type": COUNTS_ROW,
        "data": {"collection": "notifications", "id": key, "stream_id": stream_of(learner), "version": None},
        "status": "pending",
        "retry_count": 0,
        "created_at": learner.events[0].occurred_at,
    }
    await database.analytics_queue.insert_one(item)
    async with rebuilding(database) as rebuild:
        assert (await rebuild([stream_of(learner)])).numbers == {"waiting": 1}
    assert key not in await rows(database)


@pytest.mark.parametrize(
    "damage", [{"data": {}}, {"status": "sent"}, {"user_id": ObjectId()}, {"created_at": NEVER}]
)
async def test_a_doubted_row_is_replaced_and_held_back(database: Database, damage: Document) -> None:
    learner = await counted_learner(database)
    key, before = notification_id("welcome", stream_of(learner)), await rows(database)
    await database.notifications.update_one({"_id": key}, {"$set": damage}, bypass_document_validation=True)
    async with rebuilding(database) as rebuild:
        done = await rebuild([stream_of(learner)], {stream_of(learner): [key]})
    # Nobody can say any more that it was not sent; but one that says so was not waiting.
    assert done.numbers == {"replaced": 1, **({} if "status" in damage else {"held_back": 1})}
    after = await rows(database)
    dates = {name: before[key][name] for name in ("created_at", "due_at")}
    assert {**after[key], **dates} == {**before[key], "status": "suppressed", "last_error": REMADE}


async def test_a_surplus_row_is_removed_unless_somebody_may_have_got_it(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    welcome = await only(database, "notifications")
    never, sent = f"completion:{stream_of(learner)}", "welcome:elsewhere"
    await database.notifications.insert_one({**welcome, "_id": never, "kind": "completion"})
    now = welcome["created_at"]
    await database.notifications.insert_one(
        {**welcome, "_id": sent, "status": "sent", "sent_at": now, "attempts": 1, "channel": "log"}
    )
    async with rebuilding(database) as rebuild:
        stream = stream_of(learner)
        other = await counted_learner(database, 1)
        done = await rebuild([stream, stream_of(other)], {stream: [never, sent]})
    assert (done.numbers, done.kept) == ({"removed": 1}, [sent])
    others = {notification_id(kind, stream_of(other)) for kind in ("welcome", "completion")}
    assert set(await rows(database)) == {welcome["_id"], sent, *others}
