"""The client's commands on a real server, as the metrics tell them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)

from tests.conftest import RunningMongo
from tests.support.scraping import until_moved
from worker.errors import Retryable
from worker.storage.database import COLLECTIONS, Database, make_client, open_database
from worker.storage.driver import close
from worker.telemetry.labels import RetryReason
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import SLOW_S, CommandTimer, retry_counter, retry_reason


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def watched(mongodb: RunningMongo, database: Database, metrics: Metrics) -> AsyncIterator[Database]:
    """The test's database through a client that is timed."""
    client = make_client(mongodb.uri, listeners=[CommandTimer(metrics, COLLECTIONS)])
    yield open_database(client, database.prefix)
    await close(client)


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"sevenp_worker_mongodb_{name}", labels) or 0


def _timed(metrics: Metrics, operation: str) -> float:
    return _value(metrics, "operation_duration_seconds_count", operation=operation)


async def test_a_command_is_timed_under_its_operation(watched: Database, metrics: Metrics) -> None:
    await watched.tombstones.find_one({})
    await watched.leases.find_one({})
    assert _timed(metrics, "find") == 2


async def test_reading_on_is_timed_as_such(watched: Database, metrics: Metrics) -> None:
    await watched.tombstones.insert_many(
        [{"_id": ObjectId(), "reason": "test", "created_at": datetime.now(UTC)} for _ in range(3)]
    )
    await watched.tombstones.find({}, batch_size=1).to_list(None)
    assert _timed(metrics, "getMore") >= 1


async def test_a_slow_command_is_counted_under_its_collection_and_a_waiting_change_stream_is_not(
    mongodb: RunningMongo, database: Database, metrics: Metrics
) -> None:
    name = f"slow-{database.prefix}"
    client = make_client(mongodb.uri, listeners=[CommandTimer(metrics, COLLECTIONS)], application_name=name)
    slow = open_database(client, database.prefix)
    block_ms = int(SLOW_S * 1000) + 50
    blocks = {"failCommands": ["find"], "appName": name, "blockConnection": True, "blockTimeMS": block_ms}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": blocks})
    try:
        await slow.tombstones.find_one({})
        stream = await slow.course_events.watch([], max_await_time_ms=block_ms)
        assert await stream.try_next() is None
        await stream.close()
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await close(client)
    assert _value(metrics, "slow_commands_total", collection="tombstones") == 1
    assert _value(metrics, "slow_commands_total", collection="course_events") == 0
    await until_moved(metrics, "mongodb_slow_commands_total", "mongodb_operation_duration_seconds")


async def test_a_command_that_is_cancelled_leaves_nothing_behind(mongodb: RunningMongo) -> None:
    """What is kept between start and end belongs to the task that asked, and goes with it."""
    timer, name = CommandTimer(Metrics(), COLLECTIONS), f"cancelled-{ObjectId()}"
    client = make_client(mongodb.uri, listeners=[timer], application_name=name)
    blocks = {"failCommands": ["ping"], "appName": name, "blockConnection": True, "blockTimeMS": 300}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": blocks})
    try:
        for _ in range(20):
            with suppress(TimeoutError):
                await asyncio.wait_for(client.admin.command("ping"), 0.02)
        assert [
            table for table in vars(timer).values() if isinstance(table, dict | list | set) and table
        ] == []
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await close(client)


async def test_a_failed_command_is_timed_and_counted_under_its_collection(
    watched: Database, metrics: Metrics
) -> None:
    with pytest.raises(OperationFailure):
        await watched.tombstones.find_one({"$nonsense": 1})
    assert _timed(metrics, "find") == 1
    assert _value(metrics, "failed_commands_total", collection="tombstones") == 1
    await until_moved(metrics, "mongodb_failed_commands_total")


async def test_collections_and_commands_outside_the_closed_sets_share_a_label(
    watched: Database, metrics: Metrics
) -> None:
    with pytest.raises(OperationFailure):
        await watched.content.get_collection("somebody_elses").find_one({"$nonsense": 1})
    await watched.client.admin.command("ping")
    await watched.client.admin.command("endSessions", [])
    assert _value(metrics, "failed_commands_total", collection="other") == 1
    assert _timed(metrics, "other") == 2


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (AutoReconnect("gone"), RetryReason.NETWORK),
        (ConnectionFailure("gone"), RetryReason.NETWORK),
        (NetworkTimeout("slow"), RetryReason.TIMEOUT),
        (NotPrimaryError("stepped down"), RetryReason.NOT_PRIMARY),
        (OperationFailure("stepped down", 189), RetryReason.NOT_PRIMARY),
        (OperationFailure("conflict", 112), RetryReason.WRITE_CONFLICT),
        (OperationFailure("disk full", 14031), RetryReason.OTHER),
    ],
)
async def test_a_retry_is_counted_under_its_reason(cause: PyMongoError, reason: RetryReason) -> None:
    error = Retryable("again")
    error.__cause__ = cause
    metrics = Metrics()
    retry_counter(metrics)(error)
    name = "sevenp_worker_mongodb_retries_total"
    assert metrics.registry.get_sample_value(name, {"reason": reason}) == 1
    await until_moved(metrics, "mongodb_retries_total")


def test_a_deadline_of_our_own_counts_as_timeout() -> None:
    error = Retryable("no answer")
    error.__cause__ = TimeoutError()
    assert retry_reason(error) is RetryReason.TIMEOUT
