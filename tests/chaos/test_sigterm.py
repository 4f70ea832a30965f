"""Workers that are told to stop at random moments drain, end with 0 in time, and leave nothing to be done again."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.chaos.running_worker import PARTITIONS, settings
from tests.chaos.target import TargetWorker, committed, projected, uncounted
from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, records, send
from tests.support.waiting import until
from tests.support.worker_pool import WorkerPool
from worker.devstack.servers.process import ServerProcess
from worker.storage.database import Database
from worker.verify.run import verify

SEED = 20_261_125
# Runs that are told to stop; one more reads the rest. 200 take some ten minutes.
RUNS = int(os.environ.get("SEVENP_TEST_SIGTERMS", "14"))
RECORDS = 640 * RUNS
DRAIN_S = 10.0
# On top of the drain: closing consumers and leases, on a busy machine.
CLOSING_S = 20.0


@pytest.mark.long
async def test_workers_told_to_stop_at_random_moments_leave_nothing_to_be_done_again(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same moments at every run
    published = [event(number % 200) for number in range(RECORDS)]
    await send(kafka, topic, records(published))
    pool = WorkerPool(tmp_path / "worker-pool.log")
    chosen = {
        **settings(mongodb.uri, database, kafka, topic),
        "SEVENP_DRAIN_DEADLINE_S": str(DRAIN_S),
        "SEVENP_NOTIFY_SEND_TIMEOUT_S": "5",
        "SEVENP_SESSION_TIMEOUT_MS": "2000",
        "SEVENP_WATCH_LEASE_S": "2",
    }
    target = TargetWorker(tmp_path, chosen, pool)

    async def stored() -> int:
        return await database.course_events.count_documents({})

    async def read() -> int:
        return sum((await committed(kafka, topic, chosen["SEVENP_KAFKA_GROUP_ID"], PARTITIONS)).values())

    try:
        in_mid_work = 0
        for run in range(RUNS):
            before = await stored()
            # From the first moment it can be told, to the middle of what is left; every second one is told twice.
            wanted = before + chance.choice([0, 1, chance.randrange(RECORDS // RUNS)])
            process = target.start(name=f"run-{run}")
            try:
                await _terminated(process, wanted, stored, times=1 + run % 2)
            finally:
                await asyncio.to_thread(process.stop)
            assert process.returncode == 0, (run, process.log_tail())
            # Everything stored is committed: the next one is given nothing that is there already.
            assert await read() == await stored() < RECORDS
            in_mid_work += await stored() > before
        assert in_mid_work >= RUNS // 2
        await _finish(target, database, read)
    finally:
        pool.close()
    await assert_exactly_once(database, published)
    assert (await verify(database, quiescent=True)).finding_counts == {}


async def _terminated(
    process: ServerProcess, wanted: int, stored: Callable[[], Awaitable[int]], times: int
) -> None:
    """Tell a worker to stop once so much is stored; it must end in time."""

    async def moment() -> bool:
        process.require_alive()
        listens = process.log.exists() and "listening" in process.log.read_text(encoding="utf-8")
        return listens and await stored() >= wanted

    await until(moment, f"{wanted} events stored")
    told = time.monotonic()
    for _ in range(times):
        process.popen.send_signal(signal.SIGTERM)
    await until(lambda: process.returncode is not None, "the worker has ended")
    assert time.monotonic() - told < DRAIN_S + CLOSING_S


async def _finish(target: TargetWorker, database: Database, read: Callable[[], Awaitable[int]]) -> None:
    process = target.start(name="last")
    try:

        async def done() -> bool:
            process.require_alive()
            return await read() == RECORDS and await projected(database) and not await uncounted(database)

        await until(done, "everything is stored, folded and counted")
    finally:
        await asyncio.to_thread(process.stop)
    assert process.returncode == 0
