"""MongoDB's disk is full: the worker says so and waits, what was acknowledged stays, and space is all it needs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.running_worker import flowing, settings, working
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event
from tests.support.small_disk import fill, small_disk
from worker.devstack.servers.mongod import start_mongod
from worker.storage.database import make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.verify.run import verify

# mongod's own files take 300 MB of an empty database.
_DISK_MB = 500
# Left of the disk once the ballast lies on it: some batches fit, the load does not.
_LEFT_MB = 6
_PARAMETERS = ("enableTestCommands=1", "ttlMonitorEnabled=false")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    with small_disk(tmp_path, _DISK_MB) as disk:
        yield disk


def batch() -> list[dict[str, object]]:
    return [event(number % 40, user_agent="x" * 1_000) for number in range(100)]


@pytest.mark.long
async def test_a_full_disk_is_waited_out_and_costs_no_event(
    disk: Path, kafka: str, topic: str, tmp_path: Path
) -> None:
    mongod = await start_mongod(disk, parameters=_PARAMETERS)
    client = make_client(mongod.uri)
    try:
        database = open_database(client, "full")
        await apply_schema(database)
        async with working(settings(mongod.uri, database, kafka, topic), tmp_path / "worker.log") as worker:
            async with flowing(kafka, topic, batch) as published:
                await worker.until_processed(200)
                ballast = fill(disk, _LEFT_MB)
                # Seen so far: WiredTiger cannot write and mongod aborts. One that lives answers with code 14031.
                await worker.until_status("readyz", 503)
                assert (await worker.get("livez"))[0] == 200
                assert await worker.sum("mongodb_retries_total") >= 1
            ballast.unlink()
            if mongod.process.returncode is not None:
                # Its log lies on the same disk and may lack the reason.
                assert mongod.process.returncode == -signal.SIGABRT
                mongod = await start_mongod(disk, port=mongod.port, parameters=_PARAMETERS)
            await worker.until_quiescent(database, kafka, len(published))
            await worker.until_status("readyz", 200)
        await assert_exactly_once(database, published, voids=None)
        assert (await verify(database, quiescent=True)).finding_counts == {}
    finally:
        await close(client)
        mongod.stop()
