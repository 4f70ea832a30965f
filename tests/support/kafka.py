"""What tests of a real cluster share: batches sent byte for byte, topics that change, and where a group stands."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from tests.support.ingest import Sent, event
from tests.support.waiting import stretched
from worker.storage.database import Database

# What is promised of a machine that has time for it: behind what cannot be read, reading goes on this soon.
_IN_TIME_S = 5.0
_PRODUCE_MS = 120_000  # a broker looks into each compressed batch before it takes it: 2 GB take seconds
_ALL_COPIES = -1


def in_time_s() -> float:
    return stretched(_IN_TIME_S)


def events(count: int, learners: int = 9) -> list[dict[str, Any]]:
    return [event(number % learners) for number in range(count)]


def ids(*published: Iterable[Mapping[str, Any]]) -> set[uuid.UUID]:
    return {uuid.UUID(fields["event_id"]) for batch in published for fields in batch}


async def stored_ids(database: Database) -> set[uuid.UUID]:
    return {row["_id"] for row in await database.course_events.find({}, {"_id": 1}).to_list(None)}


async def gaps(database: Database) -> list[tuple[str, int, int, int]]:
    """(reason, partition, first offset, last offset) of each gap record, in order."""
    dead_letters = (
        await database.dead_letters.find({"kind": "gap"}).sort({"partition": 1, "offset": 1}).to_list(None)
    )
    return [
        (each["reason"], each["partition"], each["gap"]["first_offset"], each["gap"]["last_offset"])
        for each in dead_letters
    ]


# ---- topics ----


@asynccontextmanager
async def administering(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_topic(
    kafka: str,
    partitions: int = 1,
    *,
    name: str | None = None,
    copies: Sequence[Sequence[int]] | None = None,
    **configuration: Any,
) -> str:
    """A topic with Kafka's own settings (`_` for `.`); `copies` are the nodes of each partition, leader first."""
    topic = name or f"events-{uuid.uuid4().hex[:12]}"
    configs = {key.replace("_", "."): str(value) for key, value in configuration.items()}
    if copies is None:
        wanted = NewTopic(topic, partitions, 1, topic_configs=configs)
    else:
        wanted = NewTopic(topic, -1, -1, dict(enumerate(copies)), topic_configs=configs)
    async with administering(kafka) as admin:
        response = await admin.create_topics([wanted])
    _require([(code, message) for _, code, message, *_ in response.topic_errors])
    return topic


async def delete_topic(kafka: str, topic: str) -> None:
    async with administering(kafka) as admin:
        response = await admin.delete_topics([topic])
    _require([(code, name) for name, code in response.topic_error_codes])


async def add_partitions(kafka: str, topic: str, total: int) -> None:
    async with administering(kafka) as admin:
        await admin.create_partitions({topic: NewPartitions(total)})


async def delete_records(kafka: str, topic: str, partition: int, before: int) -> None:
    async with administering(kafka) as admin:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})


def _require(errors: Iterable[tuple[int, Any]]) -> None:
    for code, about in errors:
        if code:
            raise for_code(code)(about)


# ---- records ----


def batch_of(sent: Sequence[Sent], codec: int = 0) -> bytes:
    """One record batch of format 2, as a producer without idempotence sends it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**24,
    )
    for offset, record in enumerate(sent):
        added = builder.append(offset, record.timestamp_ms, record.key, record.value, list(record.headers))
        assert added is not None
    return bytes(builder.build())


async def send_as_is(kafka: str, topic: str, batch: bytes, partition: int = 0) -> int:
    """Hand the leader one batch byte for byte; its first offset. Raises what the broker refuses it with."""
    client = AIOKafkaClient(bootstrap_servers=kafka, request_timeout_ms=_PRODUCE_MS)
    try:
        await client.bootstrap()
        await client.set_topics([topic])
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(None, _ALL_COPIES, _PRODUCE_MS, [(topic, [(partition, batch)])])
        response = await client.send(leader, request)
    finally:
        await client.close()
    [(_, [(_, code, offset, *_)])] = response.topics
    _require([(code, topic)])
    return int(offset)


@asynccontextmanager
async def producing(kafka: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, **{"acks": "all", **options})
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


# ---- where a group stands ----


async def durable(kafka: str, topic: str, partitions: int, group: str | None = None) -> list[int | None]:
    """The group's committed offset of each partition; asked without joining it."""
    found = await durable_of(kafka, {topic: partitions}, group or f"group-{topic}")
    return [found[topic, number] for number in range(partitions)]


async def durable_of(kafka: str, topics: Mapping[str, int], group: str) -> dict[tuple[str, int], int | None]:
    """The same of several topics with so many partitions each, by topic and number."""
    async with _asking(kafka, group) as consumer:
        asked = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        consumer.assign(asked)
        return {(each.topic, each.partition): await consumer.committed(each) for each in asked}


async def ends(kafka: str, topic: str, partitions: int) -> list[int]:
    """The next offset of each partition, behind markers and aborted records, too."""
    async with _asking(kafka, None) as consumer:
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        answer = await consumer.end_offsets(wanted)
        return [answer[partition] for partition in wanted]


@asynccontextmanager
async def _asking(kafka: str, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def all_durable(kafka: str, topic: str, partitions: int) -> Callable[[], Any]:
    """For `until`: true once the group's durable offsets are the ends of the log."""

    async def condition() -> bool:
        return await durable(kafka, topic, partitions) == await ends(kafka, topic, partitions)

    return condition
