"""The worker is killed at both sides of each of its writes, with work waiting; nothing is lost, nothing is twice."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.chaos.target import TargetWorker, committed, projected, uncounted
from tests.chaos.traffic import Traffic, traffic
from tests.conftest import RunningMongo
from tests.oracle import check, read_ledger, write_ledger
from tests.support.waiting import until
from worker.devstack.servers.process import free_port
from worker.kafka.producer import Publisher
from worker.storage.database import Database
from worker.timing import SystemClock
from worker.verify.run import verify

SEED = 20_240_301
RECORDS = 40_000
PARTITIONS = 4
LEAST_UNREAD = 1_000
GROUP = "chaos"

# Each stage before and after its write. The first run finds no session to burn, so it is killed at its events.
# Later occurrences than the first let some batches through, so that most runs leave something behind.
POINTS = (
    "after:insert:course_events:2",
    "before:update:leases~burns:1",
    "after:update:leases~burns:2",
    "after:update:leases~{'session':3",
    "before:insert:course_events:2",
    "after:insert:dead_letters:1",
    "before:insert:user_interactions:3",
    "after:insert:user_interactions:2",
    "before:update:leases/partition/set.durable:2",
    "after:update:leases/partition/set.durable:2",
    "before:commit:offsets:2",
    "after:commit:offsets:2",
    "before:insert|update:user_progress:1",
    "after:insert|update:user_progress:2",
    "before:update:projection_state~currentDate:1",
    "after:update:projection_state~currentDate:1",
    # Counting: projections, outbox and the commit that makes them visible together.
    "after:insert|update:user_progress_projections:1",
    "before:insert|update:notifications:1",
    "before:commitTransaction:1:1",
    "after:commitTransaction:1:1",
)


@pytest.mark.long
async def test_twenty_crashes_lose_nothing_and_double_nothing(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    load = traffic(SEED, RECORDS)
    write_ledger(tmp_path / "ledger.jsonl", load.ledger)
    await _publish(kafka, topic, load)
    target = TargetWorker(tmp_path, _settings(database, mongodb, kafka, topic))

    for number, point in enumerate(POINTS, start=1):
        exit_code = await target.killed_at(point)
        # Everything was published before. What this run was not given stands where the group's offsets are.
        read = {**await committed(kafka, topic, GROUP, PARTITIONS), **target.crashes()[-1].read}
        assert exit_code == -signal.SIGKILL
        assert [crash.point for crash in target.crashes()] == list(POINTS[:number])
        assert len(load.records) - sum(read.values()) >= LEAST_UNREAD, point

    await _drain(target, database, kafka, topic, len(load.records))
    ledger = read_ledger(tmp_path / "ledger.jsonl")
    assert await asyncio.to_thread(check, mongodb.uri, database.prefix, ledger, in_order=True) == []
    assert (await verify(database, quiescent=True)).finding_counts == {}


async def _publish(kafka: str, topic: str, load: Traffic) -> None:
    # The embedded broker knows no idempotent producers; what it is sent twice would be a duplicate all the same.
    async with Publisher(kafka, topic, clock=SystemClock(), idempotent=False) as publisher:
        await publisher.publish(load.records)


async def _drain(target: TargetWorker, database: Database, kafka: str, topic: str, records: int) -> None:
    """A last run without a crash: everything is read, committed and folded, and SIGTERM ends it with 0."""
    process = target.start()
    try:

        async def drained() -> bool:
            process.require_alive()
            read = sum((await committed(kafka, topic, GROUP, PARTITIONS)).values())
            return read == records and await projected(database) and await uncounted(database) == 0

        await until(drained, "everything to be stored, folded and counted")
    finally:
        await asyncio.to_thread(process.stop)
    assert process.returncode == 0


def _settings(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> dict[str, str]:
    """Small batches, so that a run is many writes; short leases, so that a run begins soon after a crash."""
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_KAFKA_GROUP_ID": GROUP,
        "SEVENP_TOPIC": topic,
        "SEVENP_ROLES": "ingest,progress,counts",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_INGEST_MAX_RECORDS": "500",
        "SEVENP_SESSION_TIMEOUT_MS": "2000",
        "SEVENP_WATCH_LEASE_S": "2",
        "SEVENP_NOTIFY_WITHIN_HOURS": "800000",  # what happens there happened long ago
        "SEVENP_HTTP_PORT": str(free_port()),
    }
