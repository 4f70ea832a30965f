"""Records that somebody deletes, or puts older content in place of, come back by themselves."""

import time
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from projections.progress.projection import PROGRESS
from tests.support import counts as counts_role
from tests.support.progress import (
    documents,
    expected,
    highest_versions,
    histories,
    interleaved,
    running,
    store,
    variant,
)
from tests.support.waiting import stretched
from worker.storage.database import Database, Document

WITHIN_S = 10.0


async def _deleted(database: Database, old: Document) -> None:
    await database.user_progress.delete_one({"_id": old["_id"]})


async def _replaced(database: Database, old: Document) -> None:
    await database.user_progress.replace_one({"_id": old["_id"]}, old)


async def _set(database: Database, old: Document) -> None:
    await database.user_progress.update_one({"_id": old["_id"]}, {"$set": old})


async def _restored(database: Database, old: Document) -> None:
    """As `mongorestore --drop` does."""
    await database.user_progress.drop()
    await database.user_progress.insert_one(old)


@pytest.mark.parametrize("lose", [_deleted, _replaced, _set, _restored])
async def test_a_record_that_went_back_is_folded_again_within_ten_seconds(
    database: Database, lose: Callable[[Database, Document], Awaitable[None]]
) -> None:
    streams = histories(learners=5, events=8)
    async with running(database) as folding, counts_role.running(database) as counts:
        await store(database, interleaved(streams, 1, 3))
        await folding.until_current()
        old = await database.user_progress.find_one({})
        assert old is not None
        await store(database, interleaved(streams, 4))
        await folding.until_current()
        await counts.until_caught_up()
        await counts.until(lambda: _counted(database), "all counted")

        began = time.monotonic()
        await lose(database, old)
        await folding.until(lambda: _as_expected(database), "the record is back")
        assert time.monotonic() - began < stretched(WITHIN_S)
        await counts.until(lambda: _counted(database), "all counted again")


async def test_records_deleted_while_nobody_counts_come_back_when_somebody_does(database: Database) -> None:
    streams = histories(learners=5, events=4)
    await store(database, interleaved(streams))
    async with running(database) as folding:
        async with counts_role.running(database) as counts:
            await folding.until_current()
            await counts.until(lambda: _counted(database), "all counted")
        await database.user_progress.drop()
        async with counts_role.running(database):
            await folding.until(lambda: _as_expected(database), "the records are back")


async def test_streams_that_stand_still_for_a_newer_release_are_told(database: Database) -> None:
    """After a roll-back everything looked green."""
    streams = histories(learners=6, events=4)
    await store(database, interleaved(streams, 1, 2))
    async with running(database, projection=variant(PROGRESS.version + 1)) as newer:
        await newer.until(lambda: _at_head(database), "documents of the newer release")
    with capture_logs() as logs:
        async with running(database) as older:
            await older.until_following()
            assert older.value("projection_frozen_streams", projection="progress") == 0
            await store(database, interleaved(streams, 3))
            frozen = "projection_frozen_streams"
            await older.until(lambda: older.value(frozen, projection="progress") == 6, "six streams told")
            await older.until_moved("projection_frozen_streams")
    assert any(entry["event"] == "progress_frozen" for entry in logs)


async def _as_expected(database: Database) -> bool:
    return await documents(database) == await expected(database)


async def _at_head(database: Database) -> bool:
    rows = await database.user_progress.find({}, {"stream_id": 1, "version": 1}).to_list(None)
    return {row["stream_id"]: row["version"] for row in rows} == await highest_versions(database)


async def _counted(database: Database) -> bool:
    records = await database.user_progress.find({}, {"version": 1}).to_list(None)
    counted = await database.user_progress_projections.find({}, {"last_event_version": 1}).to_list(None)
    return {row["_id"]: row["version"] for row in records} == {
        row["_id"]: row["last_event_version"] for row in counted
    }


async def test_learners_that_newer_code_counted_and_that_moved_on_are_told(database: Database) -> None:
    streams = histories(learners=4, events=4)
    await store(database, interleaved(streams, 1, 2))
    async with running(database) as folding, counts_role.running(database) as counts:
        await folding.until_current()
        await counts.until_caught_up()
        await counts.until(lambda: _counted(database), "all counted")
        await database.user_progress_projections.update_many({}, {"$inc": {"counts_version": 1}})
        await store(database, interleaved(streams, 3))
        await folding.until_current()
        frozen = "projection_frozen_streams"
        await counts.until(lambda: counts.value(frozen, projection="counts") == 4, "four learners told")
