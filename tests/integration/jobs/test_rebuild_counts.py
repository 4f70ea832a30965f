"""`rebuild counts`: what was counted and shown is what it follows from again, in place, whoever counts beside it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from tests.integration.test_third_projection import ACTIVITY, CATALOGUE
from tests.integration.verify.counted import INSTRUCTOR, counted, store_counted
from tests.integration.verify.history import COURSE, learner, store
from tests.support.counts import Learner, add_platform, assert_counted, counting, snapshot, store_all, user
from tests.support.jobs import runner
from tests.support.progress import histories, projector
from tests.support.progress import store as store_events
from worker.errors import Misconfigured
from worker.jobs.context import Progress
from worker.jobs.rebuild_counts import REBUILD_COUNTS, RebuildCounts
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.storage.stream_selection import StreamSelection
from worker.verify.run import verify

SHOWN = ("user_progress_projections", "courses", "users", "notifications", "billing_transactions")


async def everything(database: Database, names: tuple[str, ...] = SHOWN) -> dict[str, dict[Any, Document]]:
    return {
        name: {each["_id"]: each for each in await database.collection(name).find({}).to_list(None)}
        for name in names
    }


async def stored(database: Database) -> list[ObjectId]:
    """Five learners of one course, counted, so that everything agrees; their ids."""
    learners = [learner(f"learner {number}") for number in range(5)]
    await store(database, learners)
    await store_counted(database, counted(learners), learners)
    return sorted(each.progress["_id"] for each in learners)


async def damage(database: Database, ids: list[ObjectId]) -> None:
    """One of each: altered, taken away, and of nobody; sums, log entries, and the instructor's."""
    projections = database.user_progress_projections
    first = await projections.find_one({"_id": ids[0]}) or {}
    await projections.update_one(
        {"_id": ids[0]}, {"$set": {"counted.progress": 3, "current_state.status": "dropped"}}
    )
    await projections.delete_one({"_id": ids[1]})
    nobody = {"_id": ObjectId(), "user_id": ObjectId(), "stream_id": "course_0_user_0"}
    await projections.insert_one({**first, **nobody})
    await projections.update_one({"_id": ids[2]}, {"$set": {"emitted": []}})
    await database.courses.update_one({"_id": COURSE}, {"$set": {"stats.sums.enrolled": 40}})
    await database.users.update_one({"_id": INSTRUCTOR}, {"$set": {"stats.total_students": 7}})
    await database.users.update_one({"_id": first["user_id"]}, {"$set": {"activity_log": []}})


async def test_whatever_was_damaged_is_as_its_records_say_and_nothing_is_announced_again(
    database: Database,
) -> None:
    ids = await stored(database)
    before = await everything(database)
    await damage(database, ids)
    assert not (await verify(database, quiescent=True)).ok

    result = await runner(database).run(REBUILD_COUNTS, RebuildCounts())

    assert await everything(database) == before
    assert (await verify(database, quiescent=True)).findings == ()
    assert result.outcome == {"quarantined": 0}
    assert result.run.counts["user_progress_projections"] == 4
    again = await runner(database).run(REBUILD_COUNTS, RebuildCounts())
    assert {name: number for name, number in again.run.counts.items() if number} == {"documents": 18}


async def test_a_dry_run_counts_what_would_be_written_and_gives_it_up(database: Database) -> None:
    ids = await stored(database)
    await runner(database).run(REBUILD_COUNTS, RebuildCounts())  # notes for whom the course is counted
    clean = await runner(database).run(REBUILD_COUNTS, RebuildCounts(), dry_run=True)
    assert clean.outcome["differing"] == 0
    await damage(database, ids)
    damaged = await everything(database, (*SHOWN, "projection_state", "analytics_queue"))

    result = await runner(database).run(REBUILD_COUNTS, RebuildCounts(), dry_run=True)

    assert result.run.counts["user_progress_projections"] == 4
    assert result.outcome["differing"] > 4
    assert REBUILD_COUNTS.differs(result.outcome)
    assert await everything(database, (*SHOWN, "projection_state", "analytics_queue")) == damaged


async def test_a_selection_mends_its_streams_and_the_sums_they_are_a_part_of(database: Database) -> None:
    ids = await stored(database)
    before = await everything(database)
    projections = database.user_progress_projections
    await projections.update_many({}, {"$set": {"current_state.status": "dropped"}})
    mended = await projections.find_one({"_id": ids[3]}) or {}
    await database.users.update_many({}, {"$set": {"stats.sums": {}}})
    only = StreamSelection(learner=str(mended["user_id"]))

    await runner(database).run(REBUILD_COUNTS, RebuildCounts(of=only))

    after = await everything(database)
    assert after["user_progress_projections"][ids[3]] == before["user_progress_projections"][ids[3]]
    assert after["users"][mended["user_id"]] == before["users"][mended["user_id"]]
    left = after["user_progress_projections"][ids[4]]
    assert left["current_state"]["status"] == "dropped"


async def test_a_course_without_learners_is_mended_by_its_name(database: Database) -> None:
    await add_platform(database, courses=1, users=0)
    [course] = await database.courses.find({}).to_list(None)
    await database.courses.update_one({}, {"$set": {"stats": {"enrollments": {"total": 3}}}})
    await runner(database).run(REBUILD_COUNTS, RebuildCounts(of=StreamSelection(course=str(course["_id"]))))
    await assert_counted(database)


async def test_beside_live_counting_every_sum_stays_right(database: Database) -> None:
    """Records move and are counted while everything is counted again."""
    await add_platform(database, courses=3, users=8)
    learners = [Learner(ObjectId(f"c{n % 3:023x}"), user(n)).enrol() for n in range(8)]
    await store_all(database, learners)
    wrong: list[str] = []

    async def live() -> None:
        async with counting(database) as counter:
            for number, each in enumerate([*learners, *learners]):
                await each.meet("complete", 100 + number, lesson=1 + number // 8).store(database)
                await counter.count(frozenset({("learner", each.identity)}))
                wrong.extend(await snapshot(database, instructors=False))

    async def rebuild() -> None:
        for _ in range(3):
            await runner(database).run(REBUILD_COUNTS, RebuildCounts())

    await asyncio.gather(live(), rebuild())
    assert wrong == []
    await assert_counted(database)


async def test_killed_at_every_step_it_goes_on_and_ends_the_same(database: Database) -> None:
    ids = await stored(database)
    before = await everything(database)
    await damage(database, ids)
    kills = 0
    while await killed_at_its_next_save(database):
        kills += 1
    assert kills > 4
    [run] = await database.job_runs.find({}).to_list(None)
    assert (run["status"], run["attempts"]) == ("succeeded", kills + 1)
    assert await everything(database) == before


class Killed(Exception):
    """Ends a run right where it stands."""


async def killed_at_its_next_save(database: Database) -> bool:
    """Run, and end it with the first step that it saves; False where it came to its end."""
    found: list[Progress] = []

    def observe(step: Progress) -> None:
        found.append(step)
        if len(found) > (1 if found[0].done else 2):  # what it begins with, and at the very start the total
            raise Killed

    with contextlib.suppress(Killed):
        await runner(database, observe=observe).run(REBUILD_COUNTS, RebuildCounts())
        return False
    return True


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, CATALOGUE)
    await apply_schema(opened)
    return opened


async def test_declared_sums_and_read_models_are_mended_as_well(own: Database) -> None:
    streams = histories(6, 5)
    await store_events(own, [event for each in streams.values() for event in each])
    await projector(own, projection=ACTIVITY).project(dict.fromkeys(streams, 5))
    names = ("activity_counted", "course_activity", "activity_board")
    first = await runner(own).run(REBUILD_COUNTS, RebuildCounts())  # nothing is there yet
    assert first.run.counts["activity_counted"] == 6
    before = _without_as_of(await everything(own, names))
    [(course, shown)] = before["course_activity"].items()
    assert shown == {"_id": course, "events": 30, "learners": 6}
    some = next(iter(before["activity_counted"]))
    await own.collection("activity_counted").update_one({"_id": some}, {"$set": {"counted.events": 9}})
    await own.collection("course_activity").update_one({}, {"$set": {"events": 2}})
    view = await own.collection("activity_board").find_one({}) or {}
    await own.collection("activity_board").insert_one({**view, "_id": ObjectId()})
    await own.collection("activity_board").update_one({"_id": view["_id"]}, {"$set": {"most": 1}})
    looked = await runner(own).run(REBUILD_COUNTS, RebuildCounts(projection="board"), dry_run=True)
    assert looked.outcome["differing"] >= 2  # one is found as a view, and by its documents

    result = await runner(own).run(REBUILD_COUNTS, RebuildCounts())

    assert _without_as_of(await everything(own, names)) == before
    written = {name: result.run.counts[name] for name in names}
    assert written == {"activity_counted": 1, "course_activity": 1, "activity_board": 2}


async def test_a_sum_that_does_not_exist_is_named_with_those_that_do(database: Database) -> None:
    with pytest.raises(
        Misconfigured, match="no sum and no read model has the name 'grades'; there is counts"
    ):
        await runner(database).run(REBUILD_COUNTS, RebuildCounts(projection="grades"))


def _without_as_of(found: Mapping[str, Mapping[Any, Document]]) -> dict[str, dict[Any, Document]]:
    return {
        name: {
            key: {field: value for field, value in each.items() if field != "as_of"}
            for key, each in documents.items()
        }
        for name, documents in found.items()
    }


async def test_a_course_that_live_counting_holds_for_seconds_is_waited_for(database: Database) -> None:
    """Each of its transactions holds the course's document until it commits: some tenths of a second, or more."""
    ids = await stored(database)
    before = await everything(database)
    await damage(database, ids)
    async with database.client.start_session() as session, await session.start_transaction():
        await database.courses.update_one({"_id": COURSE}, {"$inc": {"held": 1}}, session=session)
        with capture_logs() as lines:
            rebuilding = asyncio.create_task(runner(database).run(REBUILD_COUNTS, RebuildCounts()))
            await asyncio.wait({rebuilding}, timeout=3.0)
            assert not rebuilding.done()
        await session.abort_transaction()
    await rebuilding
    assert await everything(database) == before
    assert [line for line in lines if line["event"] == "job_waits"] == []
