"""Publishes records to one topic, in their order: each is acknowledged by all replicas or reported."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer, errors

from worker.errors import Fatal, Misconfigured, Refused, Retryable, WorkerError
from worker.kafka.files import OutgoingRecord
from worker.kafka.lines import MAX_LINE_BYTES
from worker.kafka.metadata import require_topic
from worker.timing import Clock
from worker.words import counted, in_words

log = structlog.get_logger(__name__)

# The contract allows 256 KiB; larger lines are published too, so that the worker can show what it refuses.
# Kafka's default limit is 1 MiB: beyond that the broker decides and its refusal is reported.
MAX_REQUEST_BYTES = MAX_LINE_BYTES
BATCH_BYTES = 128 * 1024  # some 400 events a batch; memory stays below two batches a partition
LINGER_MS = 20  # lets batches fill; far below what anybody who watches would notice
MAX_IN_FLIGHT = 5_000  # records sent and not yet acknowledged: bounds what a crash may leave in doubt
METADATA_LIMIT_S = 15.0  # a topic that has no leader by then does not exist

# Answers about the record itself. One larger than BATCH_BYTES travels alone, so the answer is about that one.
ABOUT_THE_RECORD = (
    errors.CorruptRecordException,
    errors.InvalidMessageError,
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.RecordTooLargeError,
)
_NOT_ALLOWED = (errors.TopicAuthorizationFailedError, errors.UnsupportedVersionError)

OnProgress = Callable[[int], None]
_PLAINTEXT: Mapping[str, Any] = MappingProxyType({})


class RecordRefused(Refused):
    """The broker refuses one record; the message has its line and size, and how many before it are safe."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was acknowledged, and by topic. `seconds` runs from the first record to the last acknowledgement."""

    records: int
    size_bytes: int
    seconds: float
    topics: Mapping[str, int]


class Publisher:
    """A producer on one topic, and on those that records name, as an async context manager.

    `idempotent` lets the broker drop what the producer sends twice after a lost answer. With a broker that cannot
    do that, or with False, a repeat reaches the topic and the worker counts it as a duplicate. `kafka` holds
    aiokafka's security arguments (TLS, SASL); none of them means an open broker. A record above
    `max_request_bytes` is refused before the broker sees it.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        clock: Clock,
        idempotent: bool = True,
        compression: str | None = None,
        kafka: Mapping[str, Any] = _PLAINTEXT,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._clock = clock
        self._idempotent = idempotent
        self._options = {
            "bootstrap_servers": bootstrap_servers,
            "acks": "all",
            "compression_type": compression,
            "linger_ms": LINGER_MS,
            "max_batch_size": BATCH_BYTES,
            "max_request_size": max_request_bytes,
            **kafka,
        }
        self._producer: AIOKafkaProducer | None = None
        self._usable: set[str] = set()

    async def __aenter__(self) -> Self:
        """Connect. Raises Retryable when no broker answers, Misconfigured when it refuses this producer.

        Raises TopicMissing for a topic that does not exist: publishing does not create it.
        """
        try:
            self._producer = await self._started(idempotent=self._idempotent)
        except Misconfigured as refused:
            if not self._idempotent:
                raise
            self._producer = await self._started(idempotent=False)
            log.info("publishing_without_idempotence", reason=str(refused))
        return self

    async def _started(self, *, idempotent: bool) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(enable_idempotence=idempotent, **self._options)
        try:
            await self._start(producer)
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def publish(
        self, records: Iterable[OutgoingRecord], *, on_progress: OnProgress | None = None
    ) -> Report:
        """Send all records and return once every one is acknowledged: `publish_as_they_come` for what is at hand."""
        return await self.publish_as_they_come(_at_once(records), on_progress=on_progress)

    async def publish_as_they_come(
        self, chunks: AsyncIterator[Iterable[OutgoingRecord]], *, on_progress: OnProgress | None = None
    ) -> Report:
        """Send each chunk's records when it comes, and return once every one of all is acknowledged.

        `on_progress` gets the number acknowledged so far. Raises RecordRefused for the first record the
        broker refuses, Retryable when it goes away; publishing all again is harmless, since event ids decide.
        What the records' source raises is raised once everything before it is acknowledged.
        """
        started = self._clock.monotonic()
        in_flight = _InFlight(on_progress)
        try:
            async for records in chunks:
                for record in records:
                    await self._put(record, in_flight)
        except RecordRefused:  # all that was in flight has been answered
            raise
        except (Refused, Fatal, OSError):  # of the records' own source: what was read before it is on its way
            await in_flight.complete(leaving=0)
            raise
        await in_flight.complete(leaving=0)
        took_s = self._clock.monotonic() - started
        return Report(in_flight.acknowledged, in_flight.size_bytes, took_s, dict(in_flight.topics))

    async def _put(self, record: OutgoingRecord, in_flight: "_InFlight") -> None:
        sent = _Sent(record.line, record.size_bytes, record.topic or self._topic)
        try:
            answer = await self._send(record)
        except errors.KafkaError as error:
            raise await in_flight.failure(sent, error) from error
        in_flight.add(sent, answer)
        if len(in_flight) >= MAX_IN_FLIGHT:
            await in_flight.complete(leaving=MAX_IN_FLIGHT // 2)

    async def _send(self, record: OutgoingRecord) -> "asyncio.Future[object]":
        if self._producer is None:
            raise RuntimeError("publish() needs the publisher to be entered with `async with`")
        topic = record.topic or self._topic
        if topic not in self._usable:
            await self._use(self._producer, topic)
        sent: asyncio.Future[object] = await self._producer.send(
            topic, record.value, key=record.key, headers=list(record.headers)
        )
        return sent

    async def _start(self, producer: AIOKafkaProducer) -> None:
        try:
            await producer.start()
        except errors.KafkaConnectionError as error:
            raise Retryable(f"no Kafka broker answers at {self._servers}") from error
        except errors.KafkaError as error:
            raise Misconfigured(
                f"the broker at {self._servers} refuses this producer: {in_words(error)}"
            ) from error
        await self._use(producer, self._topic)

    async def _use(self, producer: AIOKafkaProducer, topic: str) -> None:
        """Nothing is sent to a topic before it is known to be there: many brokers create whatever they are sent."""
        try:
            async with asyncio.timeout(METADATA_LIMIT_S):
                await require_topic(producer.client, self._servers, topic)
                await producer.partitions_for(topic)
        except (errors.KafkaError, TimeoutError) as error:
            raise Misconfigured(
                f"topic {topic} cannot be used on {self._servers}: {in_words(error)}"
            ) from error
        self._usable.add(topic)


async def _at_once(records: Iterable[OutgoingRecord]) -> AsyncIterator[Iterable[OutgoingRecord]]:
    yield records


class _Sent(NamedTuple):
    """What is remembered of a record on its way: not its bytes, thousands of which may be in flight."""

    line: int
    size_bytes: int
    topic: str


class _InFlight:
    """Records handed to the producer and not yet acknowledged, oldest first."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._pending: deque[tuple[_Sent, asyncio.Future[object]]] = deque()
        self._on_progress = on_progress
        self.acknowledged = 0
        self.size_bytes = 0
        self.topics: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, record: _Sent, sent: "asyncio.Future[object]") -> None:
        self._pending.append((record, sent))

    async def complete(self, leaving: int) -> None:
        """Wait for the oldest until `leaving` are left; raises for the first one that failed."""
        while len(self._pending) > leaving:
            record, sent = self._pending.popleft()
            try:
                await sent
            except errors.KafkaError as error:
                raise await self.failure(record, error) from error
            self.acknowledged += 1
            self.size_bytes += record.size_bytes
            self.topics[record.topic] += 1
        if self._on_progress is not None:
            self._on_progress(self.acknowledged)

    async def failure(self, record: _Sent, error: errors.KafkaError) -> WorkerError:
        """What a failed record means to the caller, once all that is in flight has been answered."""
        await asyncio.gather(*(future for _, future in self._pending), return_exceptions=True)
        where = f"line {record.line}" if record.line else f"record {self.acknowledged + 1}"
        safe = f"{counted(self.acknowledged, 'record')} before it {'is' if self.acknowledged == 1 else 'are'} safe"
        message = f"{where}, {record.size_bytes} bytes: {in_words(error)}; {safe}"
        if isinstance(error, ABOUT_THE_RECORD):
            return RecordRefused(message)
        if isinstance(error, _NOT_ALLOWED):
            return Misconfigured(message)
        return Retryable(message)
