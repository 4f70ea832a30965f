"""Killed at each of its writes, the role leaves nothing undone and counts what it did not survive."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.chaos.target import TargetWorker
from tests.conftest import RunningMongo
from tests.support.matrices import one_of_each
from tests.support.progress import documents, expected, histories, interleaved, store
from tests.support.retry import item, put, with_status
from tests.support.waiting import until
from worker import __version__
from worker.devstack.servers.process import free_port
from worker.storage.database import Database

STREAMS = 12
CLAIM = "update:analytics_queue~last_retry"
WRITE = "insert|update:user_progress"
COMPLETE = "update:analytics_queue~processed_at"


@pytest.mark.parametrize(
    "killed",
    one_of_each(
        [
            (f"before:{CLAIM}:1", 1),
            (f"after:{CLAIM}:1", 2),
            (f"before:{WRITE}:1", 2),
            (f"after:{WRITE}:1", 2),
            (f"before:{COMPLETE}:1", 2),
            (f"after:{COMPLETE}:1", 1),
        ],
        lambda killed: killed[1],
    ),
    ids=lambda killed: killed[0],
)
async def test_a_killed_processor_s_items_are_taken_back_and_done(
    database: Database, mongodb: RunningMongo, tmp_path: Path, killed: tuple[str, int]
) -> None:
    point, attempts = killed
    streams = histories(learners=STREAMS, events=6)
    await store(database, interleaved(streams))
    fold = {"event_type": "progress_fold", "code_version": __version__}
    await put(database, [item(f"progress:{stream}", stream, **fold) for stream in streams])

    target = TargetWorker(tmp_path, _settings(database, mongodb))
    assert await target.killed_at(point) == -signal.SIGKILL
    successor = target.start()
    try:

        async def all_done() -> bool:
            successor.require_alive()
            inherited = await database.leases.count_documents({"_id": "retry:00", "epoch": 2})
            return bool(inherited) and await with_status(database, "completed") == STREAMS

        await until(all_done, "every item to be done, and the lease to be the successor's")
    finally:
        await asyncio.to_thread(successor.stop)
    assert successor.returncode == 0
    assert await documents(database) == await expected(database)
    assert set(await database.analytics_queue.distinct("retry_count")) == {attempts}


def _settings(database: Database, mongodb: RunningMongo) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_ROLES": "retry",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_HTTP_PORT": str(free_port()),
        "SEVENP_WATCH_LEASE_S": "2",
        "SEVENP_RETRY_LEASE_S": "2",
    }
