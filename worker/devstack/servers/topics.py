"""Creates topics and tells where they end, through the protocol a real cluster speaks."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from worker.errors import Fatal
from worker.words import in_words

_FETCH_WAIT_MS = 100  # an empty partition answers this late
_FETCHES = 100  # for a broker that has other work, too


PLAINTEXT: Mapping[str, Any] = MappingProxyType({})
"""Security arguments of clients of an open broker: none."""


async def create_topic(
    bootstrap_servers: str,
    topic: str,
    partitions: int,
    *,
    replicas: int = 1,
    kafka: Mapping[str, Any] = PLAINTEXT,
) -> bool:
    """Create `topic`; False when it stood already (its partitions are then left as they are).

    Raises Fatal with the broker's reason when it refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, **kafka)
    try:
        await admin.start()
        response = await admin.create_topics([NewTopic(topic, partitions, replicas)])
        for _, code, *_ in response.topic_errors:
            if code == TopicAlreadyExistsError.errno:
                return False
            if code:
                raise for_code(code)(topic)
    except TopicAlreadyExistsError:
        return False
    except KafkaError as error:
        raise Fatal(f"cannot create topic {topic} on {bootstrap_servers}: {in_words(error)}") from error
    finally:
        await admin.close()
    return True


async def topic_ends(
    bootstrap_servers: str, topic: str, kafka: Mapping[str, Any] = PLAINTEXT
) -> dict[int, int]:
    """Each partition's end offset: the one its next record will get.

    As fetches say it: asked for it, the embedded broker answers with the begin of the last batch.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=None, fetch_max_wait_ms=_FETCH_WAIT_MS, **kafka
    )
    try:
        await consumer.start()
        partitions = await _partitions(bootstrap_servers, topic, kafka)
        consumer.assign(partitions)
        for partition, offset in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, offset)
        ends = {each: await _end(consumer, each) for each in partitions}
    except KafkaError as error:
        raise Fatal(f"cannot read topic {topic} on {bootstrap_servers}: {in_words(error)}") from error
    finally:
        await consumer.stop()
    return {partition.partition: offset for partition, offset in ends.items()}


async def _partitions(bootstrap_servers: str, topic: str, kafka: Mapping[str, Any]) -> list[TopicPartition]:
    """All of the topic; a cluster needs some time before everybody knows of a topic that was just created."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, **kafka)
    try:
        await admin.start()
        for _ in range(_FETCHES):
            (found,) = await admin.describe_topics([topic])
            if numbers := [each["partition"] for each in found["partitions"]]:
                return [TopicPartition(topic, number) for number in sorted(numbers)]
            await asyncio.sleep(_FETCH_WAIT_MS / 1000)
    finally:
        await admin.close()
    raise Fatal(f"the brokers at {bootstrap_servers} know no topic {topic}")


async def _end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """The high watermark of the first fetch that carries one."""
    for _ in range(_FETCHES):
        await consumer.getmany(partition, timeout_ms=_FETCH_WAIT_MS)
        if (end := consumer.highwater(partition)) is not None:
            return int(end)
    raise Fatal(f"no fetch says where {partition.topic}/{partition.partition} ends: is the broker well?")
