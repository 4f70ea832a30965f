"""How full MongoDB's disk is, as a real server says it."""

import shutil

import pytest

from tests.conftest import RunningMongo
from tests.support.failpoints import failing
from tests.support.retry import EVENT_TYPE, Noting, running
from worker.retry.disk import disk_of
from worker.storage.database import Database


async def test_the_disk_of_the_server_s_files_is_told(database: Database, mongodb: RunningMongo) -> None:
    told = await disk_of(database)
    assert told is not None
    assert 0 < told.used_bytes < told.size_bytes
    if mongodb.pid is None:
        return  # its files lie somewhere else
    options = await database.client.admin.command("getCmdLineOpts")
    usage = shutil.disk_usage(options["parsed"]["storage"]["dbPath"])
    assert told.size_bytes == usage.total
    assert told.used_bytes == pytest.approx(usage.total - usage.free, rel=0.1)


async def test_a_user_who_may_not_ask_has_no_answer_and_no_error(
    database: Database, watched: Database
) -> None:
    async with failing(watched, ["dbStats"], code=13) as entered:
        assert await disk_of(watched) is None
        assert await entered() == 1


async def test_the_worker_that_measures_depths_shows_the_disk(database: Database) -> None:
    async with running(database, {EVENT_TYPE: Noting()}) as retry:
        await retry.until_moved(
            "mongodb_disk_used_bytes", "mongodb_disk_size_bytes", "depths_updated_timestamp_seconds"
        )
        assert retry.value("mongodb_disk_used_bytes") < retry.value("mongodb_disk_size_bytes")
