"""Reads partitions of the log again, from chosen offsets on, without being a member of the live group.

Partitions are assigned by hand and nothing is ever committed: the group neither notices nor moves.
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from datetime import datetime
from typing import Any, Self

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition, errors

from worker.errors import Misconfigured, Refused, Retryable, TopicMissing
from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.codecs import install_bounded_decoders
from worker.kafka.consumer import ConsumerOptions, fetch_arguments
from worker.kafka.poller import PartitionPoller
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Batch, Partition
from worker.kafka.record_batch import record_of
from worker.timing import Clock
from worker.words import in_words

_NOT_ALLOWED = (errors.GroupAuthorizationFailedError, errors.TopicAuthorizationFailedError)


class NotInTheLog(Refused):
    """Records that were to be read are not in the log any more: retention, or somebody, has removed them."""


class LogReader:
    """One consumer, used as `async with`: it answers about the topics, and reads the partitions it was told to."""

    def __init__(self, options: ConsumerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._consumer: Any = None
        self._poller: PartitionPoller  # made when the reader is entered

    async def __aenter__(self) -> Self:
        """Connect. Raises Retryable while no broker answers."""
        kafka = self._options.kafka
        install_bounded_decoders()
        self._consumer = AIOKafkaConsumer(group_id=kafka.group_id, **fetch_arguments(self._options))
        try:
            await self._answer(self._consumer.start())
        except BaseException:
            await self._consumer.stop()
            raise
        bounds = BatchBounds(kafka.bootstrap_servers, self._options.security, kafka.request_deadline_s)
        self._poller = PartitionPoller(self._consumer, bounds, self._clock, self._options.max_bytes)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close; there is no group to leave."""
        await self._consumer.stop()

    async def partitions(self) -> list[Partition]:
        """All partitions of the topics, in order; nothing is read of them before `read_from`.

        An optional topic that does not exist has none; raises TopicMissing for any other.
        """
        kafka = self._options.kafka
        client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers, **self._options.security)
        try:
            await self._answer(client.bootstrap())
            cluster = await self._answer(client.fetch_all_metadata())
        finally:
            await client.close()
        found = sorted(
            Partition(topic, number)
            for topic in self._options.topics
            for number in cluster.partitions_for_topic(topic) or ()
        )
        if absent := {*self._options.topics} - {each.topic for each in found} - self._options.optional:
            raise TopicMissing(
                f"topic {', '.join(sorted(absent))} does not exist on {kafka.bootstrap_servers}"
            )
        # A consumer knows the leaders of what it is assigned, and of nothing else.
        self._consumer.assign([TopicPartition(*each) for each in found])
        self.leave_out(found)
        return found

    async def log_ranges(self, partitions: Collection[Partition]) -> dict[Partition, LogRange]:
        """Begin and end of the log of each partition."""
        wanted = [TopicPartition(*each) for each in partitions]
        begins = await self._answer(self._consumer.beginning_offsets(wanted)) if wanted else {}
        ends = await self._answer(self._consumer.end_offsets(wanted)) if wanted else {}
        return {Partition(*each): LogRange(begins[each], ends[each]) for each in wanted}

    async def committed(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The live group's durable offsets, the next to read; a partition without one is missing."""
        asked = {each: await self._committed(each) for each in partitions}
        return {each: offset for each, offset in asked.items() if offset is not None}

    async def _committed(self, partition: Partition) -> int | None:
        offset: int | None = await self._answer(self._consumer.committed(TopicPartition(*partition)))
        return offset

    async def offsets_at(self, moment: datetime, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first offset of each partition whose record is of `moment` or later, by Kafka's times.

        Missing where there is no such record.
        """
        asked = {TopicPartition(*each): max(0, int(moment.timestamp() * 1000)) for each in partitions}
        found = await self._answer(self._consumer.offsets_for_times(asked)) if asked else {}
        return {Partition(*each): at.offset for each, at in found.items() if at is not None}

    def read_from(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions, from these offsets on, and no others."""
        self._consumer.assign([TopicPartition(*each) for each in positions])
        self._poller.forget()
        self.seek(positions)

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Go on at these offsets."""
        for partition, offset in positions.items():
            self._consumer.seek(TopicPartition(*partition), offset)
            self._poller.moved(TopicPartition(*partition), offset)

    def leave_out(self, partitions: Collection[Partition]) -> None:
        """Read nothing more of these partitions."""
        self._consumer.pause(*(TopicPartition(*each) for each in partitions))

    async def position(self, partition: Partition) -> int:
        """The next offset that would be read: past markers and aborted records, too."""
        offset: int = await self._answer(self._consumer.position(TopicPartition(*partition)))
        return offset

    def high_watermark(self, partition: Partition) -> int | None:
        """Where the log of a partition ends, as of the latest fetch; None before the first."""
        end: int | None = self._consumer.highwater(TopicPartition(*partition))
        return end

    async def poll(self) -> Batch | Gap | None:
        """The next batch, or the gap that comes next (until `seek` passes it); None if nothing came for a moment.

        Raises NotInTheLog where the log begins behind a position, Retryable when another reader is needed.
        """
        try:
            polled = await self._poller.poll(self._options.max_records)
        except errors.NoOffsetForPartitionError:
            return None  # noticed before `read_from`, which has set the position since
        except errors.OffsetOutOfRangeError as error:
            raise NotInTheLog(await self._gone(error)) from error
        except _NOT_ALLOWED as error:
            raise Misconfigured(in_words(error)) from error
        except errors.KafkaError as error:
            raise Retryable(f"no answer from Kafka: {in_words(error)}") from error
        if isinstance(polled, Gap):
            return polled
        if not polled and self._poller.has_ended:
            raise Retryable("the consumer's fetching ended with an error")
        records = tuple(record_of(message) for messages in polled.values() for message in messages)
        positions = {Partition(*each): messages[-1].offset + 1 for each, messages in polled.items()}
        return Batch(records, positions, 0, self._clock.monotonic(), self._clock.now()) if records else None

    async def _gone(self, error: errors.OffsetOutOfRangeError) -> str:
        positions = {Partition(*each): offset for each, offset in error.args[0].items()}
        ranges = await self.log_ranges(positions)
        lost = (
            f"{each.topic}/{each.number} from {offset:,} to {ranges[each].begin - 1:,}"
            for each, offset in positions.items()
        )
        return f"the log has these records no more: {', '.join(lost)}"

    async def _answer(self, request: Awaitable[Any]) -> Any:
        kafka = self._options.kafka
        try:
            async with asyncio.timeout(kafka.request_deadline_s):
                return await request
        except _NOT_ALLOWED as error:
            raise Misconfigured(f"{in_words(error)} (group {kafka.group_id})") from error
        except (errors.KafkaError, TimeoutError, OSError) as error:
            raise Retryable(f"no answer from Kafka: {in_words(error)}") from error
