"""What is history expires after the days that the settings say, and nothing else does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from tests.conftest import RunningMongo
from tests.oracle.stored import read_stored
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.errors import SchemaMismatch
from worker.settings import RetentionSettings
from worker.storage.database import Database, make_client, open_database
from worker.storage.differences import Difference
from worker.storage.driver import close, list_collections, list_indexes
from worker.storage.expiry import SERIES, kept_rows, remember_expired
from worker.storage.schema import Change, apply_schema, check_schema
from worker.storage.work_items import EVENT_TYPES

_DAY = timedelta(days=1)
_COMPLETED = "idx_analytics_queue_ours_completed_ttl"


def retention(**days: int) -> RetentionSettings:
    return RetentionSettings(**{f"{name}_days": value for name, value in days.items()})


async def series_options(database: Database) -> dict[str, Any]:
    (listed,) = await list_collections(database.analytics, SERIES)
    return dict(listed["options"])


async def test_another_duration_of_an_index_is_a_difference_and_changed_in_place(database: Database) -> None:
    longer = retention(completed_items=14)
    before = {index["name"] for index in await list_indexes(database.analytics_queue)}

    kept = [name for name in sorted(before) if name.endswith("completed_ttl")]  # of each projection its own
    assert _COMPLETED in kept
    differences = await check_schema(database, retention=longer)
    assert sorted(differences, key=lambda each: each.what) == [
        Difference("analytics_queue", f"index {name}", "kept 14 days", "kept 7 days") for name in kept
    ]
    assert await check_schema(database) == []  # a worker starts, however long anything is kept
    changes = await apply_schema(database, retention=longer)
    assert sorted(changes, key=lambda each: each.what) == [
        Change("analytics_queue", f"index {name}", "kept 14 days") for name in kept
    ]
    assert await apply_schema(database, retention=longer) == []

    indexes = {index["name"]: index for index in await list_indexes(database.analytics_queue)}
    assert set(indexes) == before
    assert indexes[_COMPLETED]["expireAfterSeconds"] == 14 * 24 * 3_600


async def test_an_index_that_means_something_else_besides_is_left_to_the_operator(database: Database) -> None:
    await database.job_runs.drop_index("idx_job_runs_finished_ttl")
    await database.job_runs.create_index(
        "started_at", name="idx_job_runs_finished_ttl", expireAfterSeconds=60
    )

    with pytest.raises(SchemaMismatch, match="job_runs, index idx_job_runs_finished_ttl"):
        await apply_schema(database)


async def test_rows_are_kept_as_the_collection_says_until_a_setting_says_otherwise(
    database: Database,
) -> None:
    await database.analytics.command({"collMod": SERIES, "expireAfterSeconds": 3_600})

    assert await apply_schema(database) == []  # the platform's own choice
    assert await apply_schema(database, retention=retention(time_series=90)) == [
        Change(SERIES, "retention", "kept 90 days")
    ]
    assert (await series_options(database))["expireAfterSeconds"] == 90 * 24 * 3_600
    assert await apply_schema(database, retention=retention(time_series=0)) == [
        Change(SERIES, "retention", "kept for ever")
    ]
    assert "expireAfterSeconds" not in await series_options(database)


async def test_what_expired_once_may_be_gone_whatever_is_chosen_later(
    database: Database, mongodb: RunningMongo
) -> None:
    now = datetime.now(UTC)
    for days in (10, 30, 0):
        await apply_schema(database, retention=retention(time_series=days))

    kept = await kept_rows(database)
    assert kept.may_be_gone(now - 11 * _DAY, now)
    assert not kept.may_be_gone(now - 9 * _DAY, now)
    believed = read_stored(mongodb.uri, database.prefix).rows_gone_before  # by the oracle
    assert believed == kept.expired_before
    # Nothing takes that back: not an older date, and not another settings' turn.
    await remember_expired(database, int((100 * _DAY).total_seconds()))
    assert (await kept_rows(database)).expired_before == kept.expired_before


async def test_where_nothing_ever_expired_no_row_may_be_gone(
    database: Database, mongodb: RunningMongo
) -> None:
    assert not (await kept_rows(database)).may_be_gone(datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC))
    assert read_stored(mongodb.uri, database.prefix).rows_gone_before is None


@pytest.fixture
async def expiring(tmp_path: Path) -> AsyncIterator[Database]:
    """A server that removes what has expired, every second."""
    mongod = await start_mongod(tmp_path, parameters=("ttlMonitorSleepSecs=1",))
    client = make_client(mongod.uri)
    try:
        database = open_database(client, "expiring")
        await apply_schema(database, retention=retention(time_series=30, job_runs=60))
        yield database
    finally:
        await close(client)
        mongod.stop()


@pytest.mark.slow
async def test_the_server_removes_what_is_old_and_nothing_else(expiring: Database) -> None:
    now = datetime.now(UTC)
    old, young = now - 61 * _DAY, now - 29 * _DAY
    ids = {"user_id": ObjectId(), "course_id": ObjectId()}
    await expiring.user_interactions.insert_many(
        [{"timestamp": at, "metadata": ids, "value": name} for name, at in (("old", old), ("young", young))]
    )
    runs = [
        {"_id": "ended", "finished_at": old},
        {"_id": "young", "finished_at": young},
        {"_id": "running", "started_at": old, "finished_at": None},
    ]
    await expiring.job_runs.insert_many(runs, bypass_document_validation=True)
    items = [
        {"_id": f"{status} {kind}", "event_type": kind, "status": status, "processed_at": old}
        for status in ("completed", "failed")
        for kind in (EVENT_TYPES[0], "somebody_elses")
    ]
    await expiring.analytics_queue.insert_many(items, bypass_document_validation=True)
    await expiring.dead_letters.insert_one({"_id": "old", "created_at": old}, bypass_document_validation=True)

    async def expired() -> bool:
        counts = (expiring.user_interactions, 1), (expiring.job_runs, 2), (expiring.analytics_queue, 3)
        return all([await each.count_documents({}) == left for each, left in counts])

    await until(expired, "the server has removed the old row, run and item")

    assert [row["value"] async for row in expiring.user_interactions.find()] == ["young"]
    assert {run["_id"] async for run in expiring.job_runs.find()} == {"young", "running"}
    assert await expiring.dead_letters.count_documents({}) == 1
    left = {item["_id"] async for item in expiring.analytics_queue.find()}
    assert left == {f"failed {EVENT_TYPES[0]}", "failed somebody_elses", "completed somebody_elses"}
