"""The Kafka side of ingest: batches that know their assignment, explicit commits, positions checked by policy."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors

from worker.errors import Misconfigured, Retryable, WorkerError
from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.cluster import Brokers
from worker.kafka.codecs import install_bounded_decoders
from worker.kafka.corrupt_batches import CorruptBatch
from worker.kafka.poller import PartitionPoller
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Batch, Partition
from worker.kafka.record_batch import record_of
from worker.settings import KafkaSettings, variable
from worker.timing import Clock, cancel_and_wait
from worker.words import in_words

log = structlog.get_logger(__name__)

# Partitions that were added, and a topic that was made again, are read this soon; aiokafka would take five minutes.
_METADATA_AGE_MS = 30_000
_SESSION_TIMEOUT_REFUSED = (
    "the brokers do not accept SEVENP_SESSION_TIMEOUT_MS: it lies outside their group.min.session.timeout.ms "
    "(6 s by default) and group.max.session.timeout.ms"
)
_NOT_ALLOWED = (errors.GroupAuthorizationFailedError, errors.TopicAuthorizationFailedError)
# A poll with everything paused has nothing to wait for, except for a rebalance: then the next one comes soon.
_IDLE_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """What to read and how. `security` are further aiokafka arguments.

    With a `group_instance_id` the group keeps this member's partitions for it until the session times out, across
    restarts and without a rebalance. It then does not leave the group when it stops. Topics that are `optional` may
    be absent: the others are read meanwhile.
    """

    kafka: KafkaSettings
    security: Mapping[str, Any]
    topics: tuple[str, ...]
    max_records: int
    # Of values, keys and headers in a batch; ordinary events of 400 bytes reach `max_records` first.
    max_bytes: int
    optional: frozenset[str] = frozenset()


def fetch_arguments(options: ConsumerOptions) -> dict[str, Any]:
    """The arguments of every aiokafka consumer here: nothing is committed by itself, and no position is guessed."""
    kafka = options.kafka
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "request_timeout_ms": 40_000,
        "max_partition_fetch_bytes": kafka.fetch_bytes,
        "fetch_max_wait_ms": 100,
        "metadata_max_age_ms": _METADATA_AGE_MS,
        **options.security,
    }


def client_id(host: str, pid: int) -> str:
    """What brokers are told who asks: by it `status` says which process reads which partitions."""
    return f"sevenp-worker-{host}-{pid}"


class ConsumerLostError(WorkerError):
    """The consumer cannot go on: what it read is read again by a new one."""


class EventConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no type information
    """One consumer in its group; everything it returns belongs to the assignment in force.

    `generation` is raised at every assignment and every revocation. Partitions stay paused from the assignment
    until `seek`, so that nothing is read before positions and leases are in order. `rejoining` is true until
    the first assignment and during every rebalance: a poll then waits for the group, and rightly. A group that gives
    no assignment for `longest_rejoin_s` is given up, and joined by a new consumer. `absent` are the optional topics
    that were not there when it started, each with the reason: to read them takes a new consumer.
    """

    def __init__(
        self, options: ConsumerOptions, clock: Clock, on_revoke: Callable[[], Awaitable[None]]
    ) -> None:
        self.generation = 0
        self.assigned: frozenset[Partition] = frozenset()
        self.absent: Mapping[str, str] = {}
        self._rejoining_since: float | None = clock.monotonic()
        self._options = options
        self._clock = clock
        self._on_revoke = on_revoke
        self._consumer: Any = None
        self._poller: PartitionPoller  # made when the consumer starts
        self._poll: asyncio.Task[Batch | CorruptBatch | None] | None = None
        self._out_of_range: set[Partition] = set()
        self._paused: frozenset[TopicPartition] = frozenset()
        self._probe: tuple[TopicPartition, int] | None = None

    async def start(self) -> None:
        """Join the group. Raises Retryable while no broker answers."""
        kafka = self._options.kafka
        install_bounded_decoders()
        consumer = AIOKafkaConsumer(
            client_id=client_id(socket.gethostname(), os.getpid()),
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.session_timeout_ms // kafka.heartbeats_per_session,
            rebalance_timeout_ms=kafka.rebalance_timeout_ms,
            **fetch_arguments(self._options),
        )
        try:
            async with asyncio.timeout(kafka.request_deadline_s):
                await consumer.start()
                self.absent = await self._absent()
        except (errors.KafkaError, TimeoutError, OSError) as error:
            await self._close(consumer)
            raise Retryable(f"no Kafka broker answers: {error}") from error
        except (asyncio.CancelledError, WorkerError):
            await self._close(consumer)
            raise
        self._consumer = consumer
        self._rejoining_since = self._clock.monotonic()
        bounds = BatchBounds(kafka.bootstrap_servers, self._options.security, kafka.request_deadline_s)
        self._poller = PartitionPoller(consumer, bounds, self._clock, self._options.max_bytes)
        consumer.subscribe([each for each in self._options.topics if each not in self.absent], listener=self)

    async def _absent(self) -> Mapping[str, str]:
        """Many brokers create whatever somebody subscribes to: what is not there is left out."""
        options = self._options
        if not options.optional:
            return {}
        return await Brokers(options.kafka, options.security).absent(sorted(options.optional))

    async def stop(self) -> None:
        """Leave the group; what was read and not committed will be read again."""
        consumer, self._consumer = self._consumer, None
        if self._poll is not None:
            await cancel_and_wait(self._poll)
            self._poll = None
        if consumer is not None:
            await self._close(consumer)

    async def _close(self, consumer: Any) -> None:
        """Close a consumer; one whose broker does not answer is left to its own time-outs after the deadline."""
        closing = asyncio.create_task(consumer.stop())
        await asyncio.wait({closing}, timeout=self._options.kafka.request_deadline_s)
        if not closing.done():
            log.warning("consumer_left_open", reason="the broker does not answer")
            closing.add_done_callback(_look_at)
        elif error := closing.exception():
            log.warning("consumer_closed_with_error", reason=type(error).__name__)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Called by aiokafka before it joins again; commits are still accepted until this returns."""
        self._new_generation()
        if self._rejoining_since is None:
            self._rejoining_since = self._clock.monotonic()
        if revoked:
            await self._on_revoke()
        self.assigned = frozenset()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Called with all partitions of the new assignment; a pause does not survive a rebalance."""
        self._new_generation()
        self._rejoining_since = None
        if self._consumer is None:  # stopped while the group was being joined
            return
        self._consumer.pause(*assigned)
        self._out_of_range.clear()
        self._paused = frozenset()
        self.assigned = frozenset(Partition(*tp) for tp in assigned)

    def _new_generation(self) -> None:
        self.generation += 1
        self._probe = None
        self._poller.forget()

    async def poll(self, wait_s: float, most: int | None = None) -> Batch | CorruptBatch | None:
        """The next batch, or None after `wait_s` without one; CorruptBatch until `seek` skips its gap.

        A poll that begins here returns at most so many records.

        Raises Retryable where the position is not valid, ConsumerLostError when a new consumer is needed.
        A poll that is under way is never cancelled (records it had already passed would be lost to this
        assignment); the next call goes on waiting for it.
        """
        poll = await self._polled(wait_s, most)
        if not poll.done():
            self._require_a_group()
            return None
        self._poll = None
        try:
            return poll.result()
        except errors.NoOffsetForPartitionError:
            return None  # noticed while the assignment was made ready; `seek` has set the position since
        except errors.OffsetOutOfRangeError as error:
            self._out_of_range.update(Partition(*tp) for tp in error.args[0])
            raise Retryable("a position is no longer in the log") from error
        except _NOT_ALLOWED as error:
            raise self._not_allowed(error) from error
        except errors.InvalidSessionTimeoutError as error:
            raise Misconfigured(_SESSION_TIMEOUT_REFUSED) from error
        except errors.KafkaError as error:
            raise ConsumerLostError(f"the poll failed: {error}") from error

    @property
    def rejoining(self) -> bool:
        """True until the first assignment and during every rebalance."""
        return self._rejoining_since is not None

    def _require_a_group(self) -> None:
        if self._rejoining_since is None:
            return
        waited_s = self._clock.monotonic() - self._rejoining_since
        if waited_s > self._options.kafka.longest_rejoin_s:
            raise ConsumerLostError(f"the group has given no assignment for {waited_s:.0f} s")

    async def next_batch(self, wait_s: float) -> Batch | None:
        """The next batch of the assignment in force, if it comes in time; anything else is left for `poll`."""
        poll = await self._polled(wait_s)
        if not poll.done() or poll.cancelled() or poll.exception() is not None:
            return None
        batch = poll.result()
        if not isinstance(batch, Batch) or batch.generation != self.generation:
            return None
        self._poll = None
        return batch

    async def _polled(
        self, wait_s: float, most: int | None = None
    ) -> asyncio.Task[Batch | CorruptBatch | None]:
        """The poll under way, or a new one, after it has ended or `wait_s` have passed."""
        if self._poll is None:
            self._poll = asyncio.create_task(self._read(most))
        poll = self._poll
        await asyncio.wait({poll}, timeout=wait_s)
        return poll

    async def _read(self, most: int | None) -> Batch | CorruptBatch | None:
        probe, self._probe = self._probe, None
        if probe is None:
            max_records = self._options.max_records
            polled = await self._poller.poll(min(most or max_records, max_records))
        else:
            polled = await self._poller.poll(probe[1], only=probe[0])
        # No other task runs between the return of the poll and this line: the generation is the records'.
        if isinstance(polled, Gap):
            return CorruptBatch(polled, self.generation)
        if not polled and self._poller.has_ended:
            raise ConsumerLostError("the consumer's fetching ended with an error")
        generation, polled_at = self.generation, self._clock.monotonic()
        records = tuple(record_of(message) for messages in polled.values() for message in messages)
        positions = {Partition(*tp): messages[-1].offset + 1 for tp, messages in polled.items()}
        return Batch(records, positions, generation, polled_at, self._clock.now()) if records else None

    async def keep_polling(self) -> None:
        """Tell the group that this member is alive while a batch takes long: poll with everything paused.

        Raises Retryable for whatever the poll finds: the next batch's poll will find it again, and deal with it.
        """
        if not self.assigned or (self._poll is not None and not self._poll.done()):
            return
        self._consumer.pause(*self._consumer.assignment())
        try:
            async with asyncio.timeout(_IDLE_POLL_S):  # nothing is returned, so nothing is lost with the poll
                await self._consumer.getmany(timeout_ms=0)
        except (errors.KafkaError, TimeoutError) as error:
            # aiokafka skips a record that it takes for too large before it says so.
            if self._consumer is not None:
                self._poller.rewind()
            raise Retryable(f"a paused poll failed: {type(error).__name__}") from error

    def resume(self) -> None:
        """Read on after `keep_polling`, but for what is paused by `pause`."""
        if paused := self._consumer.paused() - self._paused:
            self._consumer.resume(*paused)

    @property
    def paused(self) -> frozenset[Partition]:
        """The partitions that `pause` has paused."""
        return frozenset(Partition(*each) for each in self._paused)

    def pause(self, partitions: Collection[Partition]) -> None:
        """Pause these partitions and no others, from the next poll on."""
        wanted = {TopicPartition(*each) for each in partitions}
        self._paused = frozenset(wanted & self._consumer.assignment())
        if self._paused:
            self._consumer.pause(*self._paused)
        self.resume()

    def keep_paused(self, partitions: Collection[tuple[str, int]]) -> None:
        """Of a new assignment, which is paused as a whole: leave these paused when `seek` lets the others be read."""
        self._paused = frozenset(TopicPartition(*each) for each in partitions)

    def half_open_probe(self, partition: Partition, max_records: int) -> None:
        """Have the next poll read some records of this one partition, which is paused otherwise."""
        chosen = TopicPartition(*partition)
        if chosen in self._paused:
            self._consumer.resume(chosen)
            self._probe = (chosen, max_records)

    @property
    def polling(self) -> bool:
        """True while a poll is under way: the consumer's position may then be ahead of what was returned."""
        return self._poll is not None

    @property
    def paused_count(self) -> int:
        """Number of partitions that are assigned but not read at the moment."""
        return len(self._consumer.paused()) if self._consumer is not None else 0

    def waiting(self, partition: Partition, position: int) -> int | None:
        """How many records there are from `position` on, as of the latest fetch; None before the first."""
        end = self._consumer.highwater(TopicPartition(*partition))
        return max(0, end - position) if end is not None else None

    def high_watermark(self, partition: Partition) -> int | None:
        """Where the log of a partition ends, as of the latest fetch; None before the first, or without assignment."""
        topic_partition = TopicPartition(*partition)
        if self._consumer is None or topic_partition not in self._consumer.assignment():
            return None
        end: int | None = self._consumer.highwater(topic_partition)
        return end

    def partitions_of_topics(self) -> frozenset[Partition]:
        """All partitions that the topics have, whoever reads them, as far as this consumer has heard."""
        return frozenset(
            Partition(topic, number)
            for topic in self._options.topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        )

    async def log_ranges(self) -> dict[Partition, LogRange]:
        """Begin and end of every assigned partition. Raises Retryable when the broker gives no answer.

        The end is the high watermark of the latest fetch, None before the first: brokers differ in what they
        answer when they are asked for the last offset, but not in what a fetch carries. A fetch that was refused
        as out of range carries none, and leaves that of the log before: there the broker is asked.
        """
        partitions = [TopicPartition(*partition) for partition in self.assigned]
        begins = await self._answer(self._consumer.beginning_offsets(partitions))
        asked = await self.ends(self._out_of_range & self.assigned)
        if not self._consumer.assignment().issuperset(partitions):
            raise Retryable("the assignment changed meanwhile")
        ends = {tp: self._consumer.highwater(tp) for tp in partitions}
        by_fetch = {Partition(*tp): LogRange(begins[tp], ends[tp]) for tp in partitions}
        return by_fetch | {p: LogRange(by_fetch[p].begin, end) for p, end in asked.items() if p in by_fetch}

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Where the log of each partition ends, as the broker answers: exact enough to begin reading there."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        answer = await self._answer(self._consumer.end_offsets(wanted)) if wanted else {}
        return {Partition(*tp): offset for tp, offset in answer.items()}

    async def committed(self, partition: Partition) -> int | None:
        """The group's durable offset (the next to read), None where it has none."""
        offset: int | None = await self._answer(self._consumer.committed(TopicPartition(*partition)))
        return offset

    async def position(self, partition: Partition) -> int:
        """The next offset this consumer would read: past markers and aborted records, too.

        Raises Retryable if the assignment is gone.
        """
        try:
            offset: int = await self._answer(self._consumer.position(TopicPartition(*partition)))
        except errors.IllegalStateError as error:
            raise Retryable("the assignment changed meanwhile") from error
        if not self.polling:
            self._poller.moved(TopicPartition(*partition), offset)
        return offset

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read from these offsets on. Raises Retryable if the assignment is gone."""
        try:
            for partition, offset in positions.items():
                topic_partition = TopicPartition(*partition)
                self._consumer.seek(topic_partition, offset)
                if topic_partition not in self._paused:
                    self._consumer.resume(topic_partition)
                self._poller.moved(topic_partition, offset)
                self._out_of_range.discard(partition)
        except errors.IllegalStateError as error:
            raise Retryable("the assignment changed meanwhile") from error

    async def commit(self, positions: Mapping[Partition, int]) -> bool:
        """Commit these next offsets; False where the partitions have already moved to another worker.

        Raises Retryable when the coordinator gives no answer in time (aiokafka itself would try for ever),
        Misconfigured when it does not let this user commit.
        """
        offsets = {TopicPartition(*p): offset for p, offset in positions.items()}
        try:
            await self._answer(self._consumer.commit(offsets))
        except (errors.CommitFailedError, errors.IllegalStateError):
            return False
        return True

    def _not_allowed(self, error: errors.KafkaError) -> Misconfigured:
        """The error for a refusal that only an operator can change."""
        group, topics = self._options.kafka.group_id, ", ".join(self._options.topics)
        return Misconfigured(
            f"{in_words(error)} (group {group}, topic {topics}): look at {variable('kafka_group_id')}, "
            f"{variable('topic')}, {variable('kafka_sasl_username')} and at what the brokers allow that user"
        )

    async def _answer(self, request: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._options.kafka.request_deadline_s):
                return await request
        except (errors.CommitFailedError, errors.IllegalStateError):
            raise
        except _NOT_ALLOWED as error:
            raise self._not_allowed(error) from error
        except (errors.KafkaError, TimeoutError) as error:
            raise Retryable(f"no answer from Kafka: {type(error).__name__}") from error


def _look_at(task: asyncio.Task[None]) -> None:
    """Log the error of a consumer that closed too late for anybody to await it."""
    if not task.cancelled() and (error := task.exception()):
        log.debug("consumer_closed_late", reason=type(error).__name__)
