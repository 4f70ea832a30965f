"""Ingest while MongoDB or the broker is away, frozen, or has lost its log: it waits, goes on, and loses nothing."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from structlog.testing import capture_logs

from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once, committed
from tests.support.ingest import RunningIngest, Sent, event, options, records, running, send, with_kafka
from tests.support.waiting import stretched, until
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import start_mongod
from worker.devstack.servers.topics import create_topic
from worker.kafka.consumer import EventConsumer
from worker.kafka.positions import LogRange
from worker.kafka.record import Partition
from worker.storage import driver
from worker.storage.database import Database, make_client, open_database
from worker.storage.schema import apply_schema

# Longer than the group's session timeout (4 s in these tests) and several rounds of back-off.
AWAY_S = 13.0


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that accepts connections and answers nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def for_a_while(ingest: RunningIngest, seconds: float) -> None:
    """Let time pass; the role must live on."""
    end = time.monotonic() + seconds

    def over() -> bool:
        if ingest.task.done():
            ingest.task.result()
            raise AssertionError("the role returned")
        return time.monotonic() >= end

    await until(over, "time passes", seconds + 30)


@asynccontextmanager
async def own_database(folder: Path) -> AsyncIterator[tuple[Database, int]]:
    """A database on a mongod of its own, and that mongod's process id."""
    mongod = await start_mongod(folder)
    client = make_client(mongod.uri, socket_timeout_ms=5_000)
    try:
        database = open_database(client, prefix="outage")
        await apply_schema(database)
        yield database, mongod.process.pid
    finally:
        await driver.close(client)
        mongod.stop()


@pytest.mark.long
async def test_while_mongodb_is_frozen_the_role_waits_stays_in_its_group_and_loses_nothing(
    tmp_path: Path, kafka: str, topic: str
) -> None:
    published = [event(number % 9) for number in range(300)]
    sent = records(published)
    with capture_logs() as logs:
        await _while_mongodb_is_frozen(tmp_path, kafka, topic, published, sent)
    assert waits(logs) == ["ingest_waits_for_mongodb", "ingest_waits_for_mongodb_over"]
    (over,) = [each for each in logs if each["event"].endswith("_over")]
    assert over["waited_s"] >= 1


async def _while_mongodb_is_frozen(
    folder: Path, kafka: str, topic: str, published: list[dict[str, Any]], sent: list[Sent]
) -> None:
    async with own_database(folder) as (database, pid), running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(4)
        await send(kafka, topic, sent[:100])
        await ingest.until_processed(100)
        with frozen(pid):
            await send(kafka, topic, sent[100:])
            await until(
                lambda: ingest.value("kafka_paused_partitions", topic=topic) == 4, "reading is paused"
            )
            held = ingest.value("buffer_bytes", stage="ingest")
            assert 0 < held < ingest.value("buffer_limit_bytes", stage="ingest")
            await for_a_while(ingest, AWAY_S)
            assert ingest.processed() < 300
        await ingest.until_processed(300)
        assert ingest.value("kafka_rebalances_total", kind="assigned") == 1
        assert sum(retries(ingest).values()) >= 1
        await until(lambda: ingest.value("kafka_paused_partitions", topic=topic) == 0, "reading goes on")
        await until(lambda: ingest.value("buffer_bytes", stage="ingest") == 0, "nothing is held")
        await assert_exactly_once(database, published, voids=None)


def waits(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the log says of waits for servers."""
    return [each["event"] for each in logs if each["event"].startswith("ingest_waits_for_")]


def retries(ingest: RunningIngest) -> dict[str, float]:
    reasons = ("network", "timeout", "not_primary", "write_conflict", "other")
    return {reason: ingest.value("mongodb_retries_total", reason=reason) for reason in reasons}


async def test_a_role_that_waits_for_mongodb_at_its_assignment_can_be_stopped(
    mongodb: RunningMongo, kafka: str, topic: str
) -> None:
    client = make_client("mongodb://127.0.0.1:1/?replicaSet=none", server_selection_timeout_ms=200)
    try:
        with capture_logs() as logs:
            async with running(open_database(client), options(kafka, topic)) as ingest:
                await until(lambda: sum(retries(ingest).values()) >= 2, "the take-over waits for MongoDB")
                began = time.monotonic()
                await ingest.drain()
                assert time.monotonic() - began < stretched(10.0)
    finally:
        await driver.close(client)
    assert waits(logs) == ["ingest_waits_for_mongodb"]


async def test_a_role_that_waits_for_a_broker_can_be_stopped(database: Database) -> None:
    with capture_logs() as logs:
        async with running(database, options("127.0.0.1:1", "nowhere")) as ingest:
            await until(lambda: sum(retries(ingest).values()) >= 2, "the role waits for the broker")
            began = time.monotonic()
            await ingest.drain()
            assert time.monotonic() - began < stretched(15.0)
    assert waits(logs) == ["ingest_waits_for_kafka"]


@pytest.mark.long
async def test_a_frozen_broker_costs_time_and_nothing_else(database: Database, tmp_path: Path) -> None:
    broker = await start_broker(tmp_path)
    try:
        kafka, topic = broker.bootstrap_servers, "frozen"
        await create_topic(kafka, topic, partitions=4)
        published = [event(number % 9) for number in range(200)]
        sent = records(published)
        chosen = options(kafka, topic)
        chosen = with_kafka(chosen, request_deadline_s=2.0)
        with capture_logs() as logs:
            async with running(database, chosen) as ingest:
                await ingest.until_assigned(4)
                await send(kafka, topic, sent[:100])
                await ingest.until_processed(100)
                with frozen(broker.process.pid):
                    await for_a_while(ingest, AWAY_S)
                    assert waits(logs) == ["ingest_waits_for_kafka"]
                await send(kafka, topic, sent[100:])
                await until(lambda: ingest.outcome("stored") >= 200, "the rest is stored", 120.0)
        await assert_exactly_once(database, published)
    finally:
        broker.stop()


@pytest.mark.slow
async def test_a_broker_that_lost_its_log_costs_no_event_stored_or_new(
    database: Database, tmp_path: Path
) -> None:
    broker = await start_broker(tmp_path / "first")
    try:
        kafka, topic = broker.bootstrap_servers, "restarted"
        await create_topic(kafka, topic, partitions=4)
        old, new = [event(0) for _ in range(50)], [event(0) for _ in range(20)]
        async with running(database, options(kafka, topic)) as ingest:
            await ingest.until_assigned(4)
            await send(kafka, topic, records(old, partition=2))
            await ingest.until_processed(50)
            broker.stop()
            broker = await start_broker(tmp_path / "second", port=broker.port)
            await create_topic(kafka, topic, partitions=4)
            # The same offsets as before: only the ids tell that these are other events.
            places = await send(kafka, topic, records(new, partition=2))
            assert places[0] == (2, 0)
            await until(lambda: ingest.outcome("stored") >= 70, "the new events are stored", 120.0)
        await assert_exactly_once(database, old + new)
    finally:
        broker.stop()


@pytest.mark.slow
async def test_a_position_beyond_the_end_is_believed_when_found_twice_and_the_log_read_from_its_begin(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(0) for _ in range(20)]
    await send(kafka, topic, records(published, partition=2))
    chosen = options(kafka, topic)
    await commit_as_nobody(kafka, topic, chosen.consumer.kafka.group_id, {2: 50})
    with capture_logs() as logs:
        async with running(database, chosen) as ingest:
            await ingest.until_processed(20)
            assert ingest.value("gap_records_total", reason="log_restarted") == 1
    [gap] = await database.dead_letters.find({}).to_list(None)
    assert (gap["kind"], gap["reason"], gap["partition"]) == ("gap", "log_restarted", 2)
    assert gap["gap"] == {"first_offset": 20, "last_offset": 49}
    found = [entry["event"] for entry in logs]
    assert found.index("positions_unknown") < found.index("gap_recorded")
    await assert_exactly_once(database, published)
    assert await committed(kafka, topic, chosen.consumer.kafka.group_id) == 20


async def commit_as_nobody(kafka: str, topic: str, group: str, offsets: Mapping[int, int]) -> None:
    """Give a group that has no member yet its durable offsets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = {TopicPartition(topic, number): offset for number, offset in offsets.items()}
        consumer.assign(list(partitions))
        await consumer.commit(partitions)
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_what_retention_removed_unread_is_on_record_with_its_exact_range(
    database: Database, kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EventConsumer.log_ranges

    async def as_after_retention(self: EventConsumer) -> Mapping[Partition, LogRange]:
        ranges = await real(self)
        return {p: replace(log, begin=30) if p.number == 1 else log for p, log in ranges.items()}

    published = [event(0) for _ in range(40)]
    chosen = options(kafka, topic)
    async with running(database, chosen) as before:
        await send(kafka, topic, records(published[:10], partition=1))
        await before.until_processed(10)
    await send(kafka, topic, records(published[10:], partition=1))
    # The embedded broker cannot delete records: here it only says that it has.
    monkeypatch.setattr(EventConsumer, "log_ranges", as_after_retention)
    async with running(database, chosen) as after:
        await after.until_processed(10)
        assert after.value("gap_records_total", reason="retention") == 1
    [gap] = await database.dead_letters.find({}).to_list(None)
    assert (gap["kind"], gap["reason"], gap["partition"]) == ("gap", "retention", 1)
    assert gap["gap"] == {"first_offset": 10, "last_offset": 29}
    await assert_exactly_once(database, published[:10] + published[30:])
    assert await committed(kafka, topic, chosen.consumer.kafka.group_id) == 40
