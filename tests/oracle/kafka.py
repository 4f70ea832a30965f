"""Reads topics from begin to end and a group's offsets, without joining the group."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.oracle.case import Log, LogRecord

_FETCH_WAIT_MS = 100
# Empty answers in a row after which a broker is not only slow: a minute.
_LONGEST_WAIT = 600


async def read_log(bootstrap_servers: str, topic: str, group: str) -> Log:
    """`read_logs` of one topic."""
    return await read_logs(bootstrap_servers, [topic], group)


async def read_logs(bootstrap_servers: str, topics: Sequence[str], group: str) -> Log:
    """The topics' records, their partitions' ends and the group's committed offsets.

    Raises KafkaError, and TimeoutError when the broker gives nothing for a minute.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
    )
    await consumer.start()
    try:
        partitions = [each for topic in topics for each in await _partitions(bootstrap_servers, topic)]
        consumer.assign(partitions)
        committed = {(each.topic, each.partition): await consumer.committed(each) for each in partitions}
        for partition, offset in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(partition, offset)
        records: list[LogRecord] = []
        ends: dict[tuple[str, int], int] = {}
        for partition in partitions:
            ends[partition.topic, partition.partition] = await _read(consumer, partition, records)
    finally:
        await consumer.stop()
    return Log(records, ends, committed)


async def _partitions(bootstrap_servers: str, topic: str) -> Sequence[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        found: Sequence[Mapping[str, Sequence[Mapping[str, int]]]] = await admin.describe_topics([topic])
        numbers = sorted(each["partition"] for each in found[0]["partitions"])
    finally:
        await admin.close()
    if not numbers:
        raise LookupError(f"the brokers at {bootstrap_servers} know no topic {topic}")
    return [TopicPartition(topic, number) for number in numbers]


async def _read(consumer: AIOKafkaConsumer, partition: TopicPartition, records: list[LogRecord]) -> int:
    """Add a partition's records; where it ends.

    As fetches say it: asked for the end, the embedded broker answers with the begin of the last batch.
    """
    for _ in range(_LONGEST_WAIT):
        polled = await consumer.getmany(partition, timeout_ms=_FETCH_WAIT_MS)
        while polled.get(partition):
            records += [_record(partition, each) for each in polled[partition]]
            polled = await consumer.getmany(partition, timeout_ms=_FETCH_WAIT_MS)
        end = consumer.highwater(partition)
        if end is not None and await consumer.position(partition) >= end:
            return int(end)
    raise TimeoutError(f"the end of {partition.topic}:{partition.partition} was not reached")


def _record(partition: TopicPartition, record: object) -> LogRecord:
    names = ("offset", "key", "value", "headers")
    offset, key, value, headers = (getattr(record, name) for name in names)
    return LogRecord(partition.topic, partition.partition, offset, key, value, tuple(headers or ()))
