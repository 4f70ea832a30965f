"""A compacted topic: what compaction removed is no loss, and offsets without records are passed over."""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, running, send
from tests.support.kafka import all_durable, gaps, make_topic, producing, send_as_is
from tests.support.waiting import until
from tests.unit.kafka.raw_batches import raw_batch, raw_record
from worker.contract.codec import encode
from worker.storage.database import Database

# Compacted as soon as a segment is closed, and segments are closed at once.
COMPACTED: Mapping[str, Any] = {
    "cleanup_policy": "compact",
    "segment_ms": 100,
    "min_cleanable_dirty_ratio": "0.001",
    "delete_retention_ms": 0,
    "max_compaction_lag_ms": 100,
}


async def offsets(kafka: str, topic: str) -> list[int]:
    """Which offsets are left."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[int] = []
        while await consumer.position(partition) < end:
            polled = await consumer.getmany(partition, timeout_ms=500)
            found += [message.offset for message in polled.get(partition, [])]
        return found
    finally:
        await consumer.stop()


async def test_what_compaction_left_is_stored_and_holes_in_offsets_are_no_gaps(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 1, **COMPACTED)
    replaced = [event(n % 5) for n in range(60)]
    kept = [event(n % 5) for n in range(20)]

    async with producing(kafka) as producer:
        for events, first_key in ((replaced, 0), (kept[:10], 0), (kept[10:], 30)):
            for number, fields in enumerate(events):
                key = b"key-%d" % (first_key + number)
                await producer.send_and_wait(topic, encode(fields), key=key, partition=0)

    async def compacted() -> bool:
        # Closes the segment before: the one that is written to is never compacted.
        await send(kafka, topic, [Sent(encode(kept[-1]), b"key-39", 0)])
        left = await offsets(kafka, topic)
        return left != list(range(left[0], left[0] + len(left)))

    await until(compacted, "the log is compacted")
    async with running(database, options(kafka, topic)) as ingest:
        await until(all_durable(kafka, topic, 1), "the end is durable")
        await until(
            lambda: ingest.value("kafka_consumer_lag_records", topic=topic, partition="0") == 0, "no lag"
        )
        assert ingest.outcome("dead_lettered") == 0
    stored = {str(row["_id"]) for row in await database.course_events.find({}).to_list(None)}
    assert {fields["event_id"] for fields in kept} <= stored
    assert len(stored) < len(replaced) + len(kept)  # some were never seen
    await assert_exactly_once(database, [f for f in (*replaced, *kept) if f["event_id"] in stored])
    assert await gaps(database) == []


async def test_a_header_name_that_is_no_utf8_in_a_real_log_costs_nothing(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka)
    published = [event(n) for n in range(5)]
    odd = ((b"caf\xe9", b"x"),)
    sent = [raw_record(n, encode(f), headers=odd if n == 2 else ()) for n, f in enumerate(published)]
    await send_as_is(kafka, topic, raw_batch(sent, first_timestamp=1_772_400_000_000))  # March 2026
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(5)
        assert ingest.outcome("stored") == 5
        await until(all_durable(kafka, topic, 1), "the end is durable")
    await assert_exactly_once(database, published)
    assert await gaps(database) == []
