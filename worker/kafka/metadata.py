"""Asks whether a topic exists, without creating it: many brokers create whatever they are asked for."""

import asyncio

from aiokafka import AIOKafkaClient, errors
from aiokafka.protocol.metadata import MetadataRequest

from worker.errors import Misconfigured, TopicMissing

# A cluster needs a moment before every broker knows of a topic that was just created.
_LOOKS = 4
_BETWEEN_LOOKS_S = 0.25


async def require_topic(client: AIOKafkaClient, bootstrap_servers: str, topic: str) -> None:
    """Return if the topic exists; creates nothing, whatever the broker's settings.

    Raises `TopicMissing`, `Misconfigured` where this user may not see the topic, or aiokafka's KafkaError.
    """
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_BETWEEN_LOOKS_S)
        if await _exists(client, bootstrap_servers, topic):
            return
    raise TopicMissing(
        f"topic {topic} does not exist on {bootstrap_servers}: create it (for example `kafka-topics.sh --create "
        f"--topic {topic} --partitions 16 --bootstrap-server {bootstrap_servers.partition(',')[0]}`)"
    )


async def _exists(client: AIOKafkaClient, bootstrap_servers: str, topic: str) -> bool:
    node = client.get_random_node()
    if node is None:
        raise errors.NodeNotReadyError("no broker of the cluster is known")
    answer = await client.send(node, MetadataRequest([topic], allow_auto_topic_creation=False))
    kind = next((errors.for_code(code) for code, name, *_ in answer.topics if name == topic), errors.NoError)
    if kind is errors.TopicAuthorizationFailedError:
        raise Misconfigured(f"this user may not see topic {topic} on {bootstrap_servers}")
    return kind is not errors.UnknownTopicOrPartitionError and bool(answer.topics)
