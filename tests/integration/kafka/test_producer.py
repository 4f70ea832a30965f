"""The publisher against a real broker."""

import time

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from worker.devstack.servers.process import free_port
from worker.devstack.simulator.simulation import simulate
from worker.errors import Retryable
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import MAX_REQUEST_BYTES, Publisher, RecordRefused
from worker.timing import SystemClock


def publisher(kafka: str, topic: str) -> Publisher:
    return Publisher(kafka, topic, clock=SystemClock(), idempotent=False)


async def everything(kafka: str, topic: str, count: int) -> list[ConsumerRecord]:
    """The topic's first `count` records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", group_id=None)
    async with consumer:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        records: list[ConsumerRecord] = []
        end = time.monotonic() + 60
        while len(records) < count and time.monotonic() < end:
            for fetched in (await consumer.getmany(timeout_ms=500)).values():
                records += fetched
        return records


async def test_records_arrive_once_unchanged_and_in_order_within_their_key(kafka: str, topic: str) -> None:
    sent = simulate(seed=3, records=3_000).records
    counts: list[int] = []
    async with publisher(kafka, topic) as open_publisher:
        report = await open_publisher.publish(sent, on_progress=counts.append)
    received = await everything(kafka, topic, len(sent))
    for key in {record.key for record in sent}:
        assert [r.value for r in received if r.key == key] == [r.value for r in sent if r.key == key]
    assert len(received) == report.records == counts[-1] == 3_000
    assert report.size_bytes == sum(record.size_bytes for record in sent)


async def test_tombstones_headers_empty_and_large_values_are_kept(kafka: str, topic: str) -> None:
    sent = [
        OutgoingRecord(None, b"key", (("trace", b"1"), ("empty", None))),
        OutgoingRecord(b"", b"key"),
        OutgoingRecord(b"x" * 300 * 1024, b"key"),
    ]
    async with publisher(kafka, topic) as open_publisher:
        await open_publisher.publish(sent)
    received = await everything(kafka, topic, 3)
    assert [record.value for record in received] == [record.value for record in sent]
    assert dict(received[0].headers)["trace"] == b"1"


async def test_a_refused_record_is_named_by_line_and_size(kafka: str, topic: str) -> None:
    sent = [OutgoingRecord(b"small", line=1), OutgoingRecord(b"x" * (MAX_REQUEST_BYTES + 1), line=2)]
    async with publisher(kafka, topic) as open_publisher:
        with pytest.raises(RecordRefused, match=rf"line 2, {MAX_REQUEST_BYTES + 1} bytes"):
            await open_publisher.publish(sent)
    assert len(await everything(kafka, topic, 1)) == 1


async def test_every_record_arrives_whether_or_not_the_broker_knows_idempotent_producers(
    kafka: str, topic: str
) -> None:
    async with Publisher(kafka, topic, clock=SystemClock(), idempotent=True) as open_publisher:
        report = await open_publisher.publish([OutgoingRecord(b"value", b"key")])
    assert report.records == 1
    assert [record.value for record in await everything(kafka, topic, 1)] == [b"value"]


async def test_an_absent_broker_is_a_reason_to_try_again(topic: str) -> None:
    absent = publisher(f"127.0.0.1:{free_port()}", topic)
    with pytest.raises(Retryable, match="no Kafka broker answers"):
        await absent.__aenter__()
