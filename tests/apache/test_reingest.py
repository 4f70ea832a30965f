"""`reingest` on a real log: by time, behind transactions, and where records are gone or the log was made anew."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.jobs.test_reingest import reingested
from tests.support.ingest import event, options, records, running, send
from tests.support.kafka import all_durable, delete_records, delete_topic, gaps, make_topic, producing
from worker.errors import Refused
from worker.jobs.reingest import ReingestArguments
from worker.kafka.log_reader import NotInTheLog
from worker.storage.database import Database

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(minute: int) -> int:
    return int((START + timedelta(minutes=minute)).timestamp() * 1000)


async def test_times_are_those_of_the_records(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka, 2)
    chosen = options(kafka, topic)
    published = [event(number, occurred_at="2026-02-01T00:00:00Z") for number in range(20)]
    timed = enumerate(records(published, partition=1))
    sent = [replace(record, timestamp_ms=at(minute)) for minute, record in timed]
    async with running(database, chosen) as ingest:
        await send(kafka, topic, sent)
        await ingest.until(all_durable(kafka, topic, 2), "all is committed")
    arguments = ReingestArguments(
        from_time=START + timedelta(minutes=5), to_time=START + timedelta(minutes=12)
    )
    dry = await reingested(database, chosen, arguments, dry_run=True)
    assert dry.outcome == {"records": 7, "spans": [f"{topic}/1 from 5 to 11"], "lost": []}
    result = await reingested(database, chosen, arguments)
    assert result.run.counts["redelivered"] == 7
    later = ReingestArguments(from_time=START + timedelta(days=9))
    assert (await reingested(database, chosen, later, dry_run=True)).outcome == {
        "records": 0,
        "spans": [],
        "lost": [],
    }
    await assert_exactly_once(database, published)


async def test_records_that_retention_removed_are_named_and_refused_or_recorded_as_a_gap(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 1)
    chosen = options(kafka, topic)
    published = [event(number) for number in range(20)]
    async with running(database, chosen) as ingest:
        await send(kafka, topic, records(published))
        await ingest.until(all_durable(kafka, topic, 1), "all is committed")
    await delete_records(kafka, topic, 0, before=8)
    lost = f"{topic}/0 from 3 to 7"
    dry = await reingested(database, chosen, ReingestArguments(from_offset=3), dry_run=True)
    assert dry.outcome == {"records": 12, "spans": [f"{topic}/0 from 8 to 19"], "lost": [lost]}
    with pytest.raises(NotInTheLog, match=f"the log has these records no more: {lost}. --accept-loss"):
        await reingested(database, chosen, ReingestArguments(from_offset=3))
    result = await reingested(database, chosen, ReingestArguments(from_offset=3, accept_loss=True))
    assert result.run.counts["redelivered"] == 12
    assert await gaps(database) == [("retention", 0, 3, 7)]
    await assert_exactly_once(database, published)


async def test_markers_and_aborted_records_at_the_end_are_no_reason_to_wait(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 1)
    chosen = options(kafka, topic)
    committed, aborted = [event(number) for number in range(3)], [event(number) for number in range(3)]
    async with running(database, chosen) as ingest:
        async with producing(kafka, transactional_id=topic) as producer:
            async with producer.transaction():
                for record in records(committed):
                    await producer.send(topic, record.value, key=record.key)
            await producer.begin_transaction()
            for record in records(aborted):
                await producer.send_and_wait(topic, record.value, key=record.key)
            await producer.abort_transaction()
        await ingest.until(all_durable(kafka, topic, 1), "all is committed")
    async with asyncio.timeout(60):
        result = await reingested(database, chosen, ReingestArguments(from_offset=0))
    assert result.run.counts["redelivered"] == 3
    assert result.run.progress.done == result.run.progress.total == 8
    await assert_exactly_once(database, committed)


async def test_a_log_that_was_made_anew_and_ends_before_the_committed_offset_is_named(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 1)
    chosen = options(kafka, topic)
    async with running(database, chosen) as ingest:
        await send(kafka, topic, records([event(number) for number in range(20)]))
        await ingest.until(all_durable(kafka, topic, 1), "all is committed")
    await delete_topic(kafka, topic)
    await make_topic(kafka, 1, name=topic)
    await send(kafka, topic, records([event(number) for number in range(5)]))
    await commit(kafka, topic, 20)  # Kafka may have forgotten the offsets with the topic
    with pytest.raises(Refused, match=r"ends at 5, before what the group has committed \(20\)"):
        await reingested(database, chosen, ReingestArguments(from_offset=0))


async def commit(kafka: str, topic: str, offset: int) -> None:
    """What an operator does with Kafka's own tool, while no worker runs."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"group-{topic}", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): offset})
    finally:
        await consumer.stop()
