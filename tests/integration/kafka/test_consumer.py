"""The consumer's edges: questions after the partition has left, and a consumer whose inner tasks have died."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)
from structlog.testing import capture_logs

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, records, running, send, with_kafka
from tests.support.waiting import LIMIT_S, until
from worker.errors import Misconfigured, Retryable
from worker.kafka.consumer import ConsumerLostError, EventConsumer
from worker.kafka.record import Batch, Partition
from worker.storage.database import Database
from worker.timing import SystemClock, cancel_and_wait


async def nothing_to_drain() -> None:
    return None


@asynccontextmanager
async def started(kafka: str, topic: str, **changes: Any) -> AsyncIterator[EventConsumer]:
    consumer = EventConsumer(
        replace(options(kafka, topic).consumer, **changes), SystemClock(), nothing_to_drain
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def fetching(consumer: EventConsumer) -> Any:
    """The private task of aiokafka that fetches; `error_future` is how aiokafka names it for others."""
    fetcher = vars(vars(consumer)["_consumer"])["_fetcher"]
    assert fetcher.error_future is vars(fetcher)["_fetch_task"]
    return fetcher.error_future


class Reluctant(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no type information
    """A member that gives nothing back until it is told to: the group waits for it."""

    def __init__(self) -> None:
        self.owns = asyncio.Event()
        self.let_go = asyncio.Event()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.owns.set()

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        if revoked:
            await self.let_go.wait()


@asynccontextmanager
async def group_in_rebalance(kafka: str, topic: str) -> AsyncIterator[asyncio.Event]:
    """Whoever joins the group now gets no assignment until the event is set."""
    chosen, member = options(kafka, topic).consumer.kafka, Reluctant()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=chosen.group_id,
        enable_auto_commit=False,
        heartbeat_interval_ms=200,
        rebalance_timeout_ms=60_000,  # for so long a group waits for a member
    )
    await consumer.start()
    try:
        consumer.subscribe([topic], listener=member)
        await asyncio.wait_for(member.owns.wait(), LIMIT_S)
        yield member.let_go
    finally:
        member.let_go.set()
        await consumer.stop()


@pytest.mark.slow
async def test_questions_about_a_partition_that_has_left_are_retryable(kafka: str, topic: str) -> None:
    async with group_in_rebalance(kafka, topic) as let_go, started(kafka, topic) as consumer:
        gone = Partition(topic, 0)
        consumer.assigned = frozenset(
            {gone}
        )  # what it still believes; the group has not assigned anything yet
        with pytest.raises(Retryable):
            await consumer.position(gone)
        with pytest.raises(Retryable):
            await consumer.log_ranges()
        assert await consumer.commit({gone: 1}) is False
        let_go.set()
        await until(lambda: not consumer.rejoining, "partitions are assigned")
        with pytest.raises(Retryable):
            consumer.seek({Partition(topic, 99): 0})


@pytest.mark.long
async def test_a_paused_poll_does_not_wait_for_a_rebalance(kafka: str, topic: str) -> None:
    async with group_in_rebalance(kafka, topic), started(kafka, topic) as consumer:
        consumer.assigned = frozenset({Partition(topic, 0)})  # what it still believes
        with pytest.raises(Retryable, match="TimeoutError"):
            await consumer.keep_polling()


async def test_a_record_that_a_paused_poll_finds_too_large_is_not_skipped(kafka: str, topic: str) -> None:
    await send(kafka, topic, [Sent(b"x", partition=0)] * 3)
    only = TopicPartition(topic, 0)
    async with started(kafka, topic) as consumer:
        await until(lambda: consumer.assigned, "partitions are assigned")
        consumer.seek(dict.fromkeys(consumer.assigned, 0))
        # What aiokafka does when the length field of a batch is broken: the position goes on, the error is kept.
        inner = vars(consumer)["_consumer"]
        inner._subscription.subscription.assignment.state_value(only).consumed_to(1)  # noqa: SLF001
        inner._fetcher._set_error(only, RecordTooLargeError("larger than the fetch size"))  # noqa: SLF001
        with pytest.raises(Retryable, match="RecordTooLargeError"):
            await consumer.keep_polling()
        consumer.resume()

        async def taken() -> Any:
            return await consumer.poll(wait_s=1.0)

        batch = await until(taken, "the records are read")
    assert [record.source.offset for record in batch.records] == [0, 1, 2]


async def test_a_batch_of_large_records_ends_by_its_bytes_and_the_next_one_goes_on(
    kafka: str, topic: str
) -> None:
    size, most = 10_000, 500_000
    await send(kafka, topic, [Sent(b"x" * size, partition=0)] * 350)
    offsets: list[int] = []
    async with started(kafka, topic, max_bytes=most) as consumer:
        await until(lambda: consumer.assigned, "partitions are assigned")
        consumer.seek(dict.fromkeys(consumer.assigned, 0))

        async def all_taken() -> bool:
            batch = await consumer.poll(wait_s=1.0)
            if isinstance(batch, Batch):
                # A hundred records are taken at a time: the bytes are exceeded by less than that.
                assert batch.size_bytes < most + 100 * size
                offsets.extend(record.source.offset for record in batch.records)
                assert batch.positions == {Partition(topic, 0): offsets[-1] + 1}
            return len(offsets) >= 350

        await until(all_taken, "350 records are taken")
    assert offsets == list(range(350))


@pytest.mark.parametrize("error", [GroupAuthorizationFailedError, TopicAuthorizationFailedError])
async def test_a_commit_that_is_not_allowed_is_a_mistake_in_the_settings(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    async def refused(*_arguments: object) -> None:
        raise error

    async with started(kafka, topic) as consumer:
        await until(lambda: consumer.assigned, "partitions are assigned")
        monkeypatch.setattr(vars(consumer)["_consumer"], "commit", refused)
        with pytest.raises(Misconfigured, match="SEVENP_KAFKA_GROUP_ID"):
            await consumer.commit({Partition(topic, 0): 1})


async def test_a_consumer_that_fetches_no_more_is_noticed(kafka: str, topic: str) -> None:
    async with started(kafka, topic) as consumer:
        await until(lambda: consumer.assigned, "partitions are assigned")
        consumer.seek(dict.fromkeys(consumer.assigned, 0))
        await cancel_and_wait(fetching(consumer))

        async def lost() -> bool:
            try:
                await consumer.poll(wait_s=1.0)
            except ConsumerLostError:
                return True
            return False

        await until(lost, "the consumer is found out")


@pytest.mark.long
async def test_a_role_whose_consumer_broke_goes_on_with_a_new_one(
    database: Database, kafka: str, topic: str
) -> None:
    early, late = ([event(number) for number in range(20)] for _ in range(2))
    with capture_logs() as logs:
        async with running(database, options(kafka, topic)) as ingest:
            await send(kafka, topic, records(early))
            await ingest.until_processed(20)
            await cancel_and_wait(
                fetching(vars(ingest.role)["_consumer"])
            )  # aiokafka may swallow one cancellation
            # A fetch under way may still bring something: nothing is sent before the loss is noticed.
            await until(
                lambda: "ingest_consumer_lost" in [entry["event"] for entry in logs], "the loss is noticed"
            )
            await send(kafka, topic, records(late))
            await ingest.until_processed(40)
    assert [entry["event"] for entry in logs].count("ingest_consumer_lost") == 1
    await assert_exactly_once(database, early + late)


@pytest.mark.long
async def test_a_group_that_gives_no_assignment_is_left_and_joined_again(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    impatient = with_kafka(chosen, rebalance_timeout_ms=5_000)
    with capture_logs() as logs:
        async with group_in_rebalance(kafka, topic) as let_go, running(database, impatient) as ingest:

            def left() -> bool:
                return any("no assignment" in entry.get("reason", "") for entry in logs)

            await until(left, "the group is left")
            let_go.set()
            await until(
                lambda: ingest.value("kafka_assigned_partitions", topic=topic), "partitions are assigned"
            )
