"""Asks Kafka where logs end and what a group has committed, by connections of its own: whatever a consumer does."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaClient, errors
from aiokafka.client import CoordinationType
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from worker.errors import Retryable
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.record import Partition
from worker.words import in_words

_NO_REPLICA: Final = -1
# Every record counts, those of open transactions, too: the high watermark, which a fetch tells as well.
_READ_UNCOMMITTED: Final = 0
_NO_LEADER: Final = -1
_CLOSING_S: Final = 2.0
# Of the deadline: one node that is silent leaves time for the answers of the others to be used.
_SHARE_OF_ONE: Final = 0.5


@dataclass(frozen=True, slots=True)
class LogEnds:
    """What Kafka answered. A partition without a leader, or whose leader is moving, is in `partitions` alone.

    An end is the next offset to be written, a committed one the next to be read, missing where there is none, or
    nobody who knows.
    """

    partitions: frozenset[Partition]
    ends: Mapping[Partition, int]
    committed: Mapping[Partition, int]


class LogEndsClient:
    """One client, made at the first question, and again after each that was not answered."""

    def __init__(self, options: ConsumerOptions) -> None:
        self._options = options
        self._client: AIOKafkaClient | None = None

    async def ask(self, committed_of: Collection[Partition]) -> LogEnds:
        """The topics' partitions, their ends, and what the group has committed of some of them.

        Creates no topic, joins no group. Raises Retryable without an answer in time.
        """
        try:
            async with asyncio.timeout(self._options.kafka.request_deadline_s):
                client = await self._connected()
                leaders = await self._leaders(client)
                ends = await self._ends(client, leaders)
        except (errors.KafkaError, TimeoutError, OSError) as error:
            await self.close()
            raise Retryable(f"no answer from Kafka: {in_words(error)}") from error
        committed: Mapping[Partition, int] = {}
        if committed_of:
            # A group whose coordinator is absent or silent hides no end.
            with suppress(errors.KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(self._options.kafka.request_deadline_s * _SHARE_OF_ONE):
                    committed = await self._committed(client, committed_of)
        return LogEnds(frozenset(leaders), ends, committed)

    async def close(self) -> None:
        """Close the connections; those of a silent broker are left to themselves. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(errors.KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(_CLOSING_S):
                    await client.close()

    async def _connected(self) -> AIOKafkaClient:
        if self._client is None:
            kafka = self._options.kafka
            self._client = AIOKafkaClient(
                bootstrap_servers=kafka.bootstrap_servers,
                request_timeout_ms=int(kafka.request_deadline_s * 1000 * _SHARE_OF_ONE),
                **self._options.security,
            )
            await self._client.bootstrap()
        return self._client

    async def _leaders(self, client: AIOKafkaClient) -> dict[Partition, int]:
        """The node that leads each partition of the topics."""
        node = client.get_random_node()
        if node is None:
            raise errors.NodeNotReadyError("no broker of the cluster is known")
        topics = list(self._options.topics)
        answer = await client.send(node, MetadataRequest(topics, allow_auto_topic_creation=False))
        return {
            Partition(topic, number): leader
            for _, topic, *_, partitions in answer.topics
            for _, number, leader, *_ in partitions
        }

    async def _ends(self, client: AIOKafkaClient, leaders: Mapping[Partition, int]) -> dict[Partition, int]:
        """Of the partitions whose leaders answer; raises what one says if none does."""
        led: defaultdict[int, list[Partition]] = defaultdict(list)
        for partition, leader in leaders.items():
            if leader != _NO_LEADER:
                led[leader].append(partition)
        asking = [self._ends_at(client, node, of) for node, of in led.items()]
        ends: dict[Partition, int] = {}
        failures: list[BaseException] = []
        for answer in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(answer, BaseException):
                failures.append(answer)
            else:
                ends |= answer
        if failures and len(failures) == len(asking):
            raise failures[0]
        return ends

    async def _ends_at(
        self, client: AIOKafkaClient, node: int, partitions: Iterable[Partition]
    ) -> dict[Partition, int]:
        asked = [
            (topic, [(number, OffsetResetStrategy.LATEST) for number in numbers])
            for topic, numbers in _by_topic(partitions)
        ]
        answer: Any = await client.send(node, OffsetRequest(_NO_REPLICA, _READ_UNCOMMITTED, asked))
        return {
            Partition(topic, number): max(0, end)  # one broker answers -1 for a log in which nothing is
            for topic, told in answer.topics
            for number, code, _, end, *_ in told
            if not code
        }

    async def _committed(
        self, client: AIOKafkaClient, partitions: Collection[Partition]
    ) -> dict[Partition, int]:
        group = self._options.kafka.group_id
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        answer: Any = await client.send(node, OffsetFetchRequest(group, _by_topic(partitions)))
        return {
            Partition(topic, number): offset
            for topic, told in answer.topics
            for number, offset, _, code in told
            if not code and offset >= 0
        }


def _by_topic(partitions: Iterable[Partition]) -> list[tuple[str, list[int]]]:
    """As Kafka's requests name partitions."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for partition in partitions:
        numbers[partition.topic].append(partition.number)
    return list(numbers.items())
