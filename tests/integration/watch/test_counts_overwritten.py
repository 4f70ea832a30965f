"""Somebody else writes to what the worker keeps in courses and users: it is answered, however it was made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from bson import ObjectId

from tests.support.counts import (
    NOW,
    Learner,
    RunningCounts,
    add_platform,
    add_user,
    assert_counted,
    course,
    instructor,
    running,
    snapshot,
    store_all,
    user,
)
from worker.settings import CoolDownSettings
from worker.storage.database import Collection, Database, Document
from worker.storage.driver import aggregate

# Every write is answered at once: how long one waits that is not the first is a matter of `CoolDown`.
AT_ONCE = CoolDownSettings(at_most_every_s=0.0, turns=1_000)

Write = Callable[[Database], Awaitable[Any]]


def learners() -> list[Learner]:
    return [Learner(course(n % 2), user(n // 2)).enrol().meet("course_rated", 1, value=4) for n in range(6)]


async def right(worker: RunningCounts, before: Mapping[ObjectId, Document], told: int) -> None:
    """Wait until every document is what it was before, and the change stream alone told of it."""

    async def restored() -> bool:
        return await everything(worker.database) == before

    try:
        await worker.until(restored, "our values again")
    except AssertionError:
        assert await everything(worker.database) == before  # says what differs
        raise
    assert worker.lost() == told
    assert not await snapshot(worker.database)


async def everything(database: Database) -> dict[ObjectId, Document]:
    """All that counting writes, with BSON's own types: 3 is not 3.0."""
    return {
        document["_id"]: {"stats": typed(document.get("stats")), "log": typed(document.get("activity_log"))}
        for collection in (database.courses, database.users)
        async for document in collection.find({})
    }


def typed(value: Any) -> Any:
    """Integers of both widths are one."""
    if isinstance(value, dict):
        return {name: typed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    return ("int" if isinstance(value, int) else type(value).__name__, value)


@contextlib.asynccontextmanager
async def counted(database: Database, **options: Any) -> AsyncIterator[RunningCounts]:
    await add_platform(database, 2, 3)
    async with running(database, **{"cool_down": AT_ONCE, **options}) as worker:
        await worker.until_caught_up()
        await store_all(database, learners())
        await worker.until_counted()
        yield worker


def sets(collection: str, identity: ObjectId, **fields: Any) -> Write:
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return updates(collection, identity, {"$set": named})


def updates(collection: str, identity: ObjectId, update: Any) -> Write:
    return lambda database: database.collection(collection).update_one({"_id": identity}, update)


STALE_COURSE: Document = {
    "enrollments": {"total": 1, "active": 1, "completed": 0},
    "ratings": {"average": 0.0, "total_reviews": 0, "distribution": {}},
    "engagement": {},
    "sums": dict.fromkeys(("enrolled", "active"), 1),
}

WRITES: dict[str, Write] = {
    "a part is removed": updates("courses", course(0), {"$unset": {"stats.enrollments.total": 1}}),
    "a field is removed": updates("courses", course(0), {"$unset": {"stats.ratings": 1}}),
    "the sums are removed": updates("courses", course(0), {"$unset": {"stats.sums": 1}}),
    "a sum is set": sets("courses", course(0), stats__sums__enrolled=99),
    "a sum is a double": sets("courses", course(0), stats__sums__enrolled=3.0),
    "a shown number is a double": sets("courses", course(0), stats__enrollments__total=3.0),
    "all sums are set": sets("courses", course(0), stats__sums={"enrolled": 7}),
    "all sums and what is shown": sets(
        "courses", course(0), stats__sums={"enrolled": 7}, stats__ratings={"average": 5}
    ),
    "stats are set": sets("courses", course(0), stats=STALE_COURSE),
    "stats are a text": lambda database: database.courses.update_one(
        {"_id": course(0)}, {"$set": {"stats": "many"}}, bypass_document_validation=True
    ),
    "set by a pipeline": updates(
        "courses", course(0), [{"$set": {"stats.sums.enrolled": {"$add": ["$stats.sums.enrolled", 1]}}}]
    ),
    "replaced": lambda database: database.courses.update_one(
        {"_id": course(0)}, [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"stats": STALE_COURSE}]}}]
    ),
    "a user's sum is set": sets("users", user(0), stats__sums__learning__completed=7),
    "an instructor's sum is set": sets("users", instructor(0), stats__sums__teaching__enrolled=7),
    "an instructor's part is removed": updates(
        "users", instructor(0), {"$unset": {"stats.sums.teaching": 1}}
    ),
    "the log is emptied": sets("users", user(0), activity_log=[]),
    "the log is removed": updates("users", user(0), {"$unset": {"activity_log": 1}}),
    "the log is cut": updates(
        "users", user(0), [{"$set": {"activity_log": {"$slice": ["$activity_log", 1]}}}]
    ),
    "an entry is pulled": updates("users", user(0), {"$pull": {"activity_log": {"course_id": course(0)}}}),
    "an entry is dated anew": sets("users", user(0), activity_log__0__timestamp=NOW),
    "the log is a text": sets("users", user(0), activity_log="nothing"),
}


@pytest.mark.slow
async def test_every_way_to_overwrite_our_fields_is_answered_by_our_value(database: Database) -> None:
    async with counted(database) as worker:
        before, told = await everything(database), worker.lost()
        for name, write in WRITES.items():
            await write(database)
            try:
                await right(worker, before, told)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


@pytest.mark.slow
async def test_a_whole_stats_saved_as_it_was_loaded_before_learners_moved_is_no_lost_update(
    database: Database,
) -> None:
    async with counted(database) as worker:
        loaded = {}
        for collection, identity in (("courses", course(0)), ("users", user(0)), ("users", instructor(0))):
            loaded[collection, identity] = await database.collection(collection).find_one({"_id": identity})
        await store_all(database, [Learner(course(0), user(0)).enrol().finish(), *learners()[1:]])
        await Learner(course(0), user(9)).enrol().store(database)
        await worker.until_counted()
        before, told = await everything(database), worker.lost()
        for (collection, identity), document in loaded.items():
            assert document is not None
            old = {name: document[name] for name in ("stats", "activity_log") if name in document}
            await database.collection(collection).update_one({"_id": identity}, {"$set": old})
            await right(worker, before, told)
            await database.collection(collection).replace_one({"_id": identity}, document)
            await right(worker, before, told)
            moved = await database.courses.find_one({"_id": course(0)})
            assert moved is not None
            assert moved["stats"]["enrollments"]["total"] == 4


async def test_the_platforms_own_fields_of_stats_and_our_own_writes_wake_nobody(database: Database) -> None:
    async with counted(database) as worker:

        async def quiet() -> float:
            return worker.value("change_stream_events_total", watcher="counts")

        # The instructor's statistics have moved, which is what has the courses show them: that was read, too.
        await add_user(database, user(76))
        await worker.until(lambda: has_stats(database, user(76)), "what came before is read")
        seen = await quiet()
        await database.courses.update_one({"_id": course(0)}, {"$inc": {"stats.views": 1}})
        await database.users.update_one({"_id": user(0)}, {"$set": {"stats.streak": 3, "activity": 1}})
        await sets("courses", course(0), stats__sums__enrolled=99)(database)

        async def summed() -> bool:
            return not await snapshot(database)

        await worker.until(summed, "summed")
        await add_user(database, user(77))  # the last change: what came before it was read
        await worker.until(lambda: has_stats(database, user(77)), "the new user summed")
        assert await quiet() == seen + 2  # the sum that somebody set, and the user; nothing of ours


async def has_stats(database: Database, identity: ObjectId) -> bool:
    return await database.users.count_documents({"_id": identity, "stats.sums": {"$exists": True}}) == 1


async def out(source: Collection, onto: str) -> None:
    await aggregate(source, [{"$out": onto}])


async def renamed(source: Collection, onto: str) -> None:
    await source.rename(onto, dropTarget=True)


@pytest.mark.parametrize("onto", ["courses", "users", "user_progress"])
@pytest.mark.parametrize("way", [out, renamed])
async def test_a_collection_put_in_place_of_ours_is_compared(
    database: Database, onto: str, way: Callable[[Collection, str], Awaitable[None]]
) -> None:
    async with counted(database) as worker:
        home = database.courses.database
        documents = await database.collection(onto).find({}).to_list(None)
        for document in documents:
            document.pop("stats", None)
            document.pop("activity_log", None)
        if onto == "user_progress":
            moved = [Learner(each.course, each.user, each.events, rev=7).finish() for each in learners()]
            documents = [each.record() for each in moved]
        await home["prepared"].insert_many(documents)
        await way(home["prepared"], onto)
        await worker.until_counted()
        assert not await snapshot(database)


@pytest.mark.slow
async def test_a_platform_that_writes_stats_many_times_a_second_delays_nobody_else(
    database: Database,
) -> None:
    """Suspected in issue 13: that it would end every transaction, or keep the worker summing."""
    cool_down = CoolDownSettings(at_most_every_s=1.0, turns=2, then_every_s=2.0)
    async with counted(database, cool_down=cool_down) as worker:
        over = asyncio.Event()
        loaded = {
            name: (identity, await database.collection(name).find_one({"_id": identity}) or {})
            for name, identity in (("courses", course(0)), ("users", user(0)))
        }

        async def overwrite() -> int:
            writes = 0
            while not over.is_set():
                for collection, (identity, document) in loaded.items():
                    await sets(collection, identity, stats=document["stats"])(database)
                    writes += 1
            return writes

        writers = [asyncio.create_task(overwrite()) for _ in range(4)]
        applied = {"projection": "counts", "mode": "live", "outcome": "applied"}
        for number in range(20):
            learner = await Learner(course(number % 2), user(100 + number)).enrol().store(database)
            await worker.until(lambda one=learner: is_counted(database, one), f"learner {number} counted")  # type: ignore[misc]
        assert all(not writer.done() for writer in writers)
        await worker.until(
            lambda: worker.value("projection_events_applied_total", **applied) == 26, "each counted once"
        )
        over.set()
        writes = sum(await asyncio.gather(*writers))
        await worker.until_counted()
        assert worker.restarts("resumable") == 0
        assert writes > 100
    await assert_counted(database)


async def is_counted(database: Database, learner: Learner) -> bool:
    return await database.user_progress_projections.count_documents({"_id": learner.identity}) == 1


async def test_one_that_waits_for_its_turn_when_the_worker_dies_is_summed_by_the_next(
    database: Database,
) -> None:
    async with counted(database, cool_down=CoolDownSettings(at_most_every_s=600.0), owner="same") as worker:
        before, told = await everything(database), worker.lost()
        await sets("courses", course(0), stats__sums__enrolled=99)(database)
        await right(worker, before, told)
        seen = worker.value("change_stream_events_total", watcher="counts")
        await sets("courses", course(0), stats__sums__enrolled=98)(database)
        await sets("courses", course(1), stats__sums__enrolled=98)(database)

        async def read() -> bool:
            return worker.value("change_stream_events_total", watcher="counts") == seen + 2

        await worker.until(read, "both read")
        await worker.drain()
    async with running(database, owner="same") as second:
        await right(second, before, 0)
