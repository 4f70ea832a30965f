"""Which offsets a batch that cannot be decoded has: asked of the broker, batch by batch, without the consumer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from worker.contract.gaps import GapReason
from worker.errors import Retryable
from worker.kafka.codecs import GuardedRecords
from worker.kafka.positions import Gap
from worker.kafka.record import Partition
from worker.kafka.record_batch import Lost, Salvaged, header_of, salvage

_READ_COMMITTED: Final = 1
# A broker answers a fetch with one whole batch at least, however little is asked for: this gets exactly one.
_ONE_BATCH_BYTES: Final = 1
_WAIT_MS: Final = 100
_MESSAGE_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Found:
    """The batch that holds an offset, or the next one: where it begins, and where its header says it ends.

    The last offset is only a guess: the header may be what is broken.
    """

    base: int
    guessed_last: int


BatchAt = Callable[[int], Awaitable[Found | None]]


async def batch_range(batch_at: BatchAt, offset: int, end: int) -> tuple[int, int] | None:
    """First and last offset, from `offset` on, of the batch that holds it; None when there is no such batch.

    `batch_at` gives the batch at an offset, None at the end of the log; `end` is the next offset to be written.
    Only where batches begin is relied on. The header's guess is tried first (two questions), then
    bisection finds the first offset that another batch begins behind (two questions for each doubling).
    """
    broken = await batch_at(offset)
    if broken is None or end <= offset:
        return None

    async def behind(candidate: int) -> bool:
        if candidate >= end:
            return True
        found = await batch_at(candidate)
        return found is None or found.base != broken.base

    first = max(offset, broken.base)
    low, high = first, max(end, first + 1)  # low is in the batch, high is behind it
    guess = broken.guessed_last
    if low <= guess < high and await behind(guess + 1):
        high = guess + 1
        if guess == low or not await behind(guess):
            return first, guess
    while high - low > 1:
        middle = (low + high) // 2
        if await behind(middle):
            high = middle
        else:
            low = middle
    return first, low


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """Asks over a connection of its own, so that the consumer is not disturbed. `options` are aiokafka's."""

    bootstrap_servers: str
    options: Mapping[str, Any]
    deadline_s: float

    async def broken_at(
        self, partition: Partition, offset: int, max_records: int, max_bytes: int
    ) -> Gap | Salvaged | None:
        """What there is of the broken batch that holds `offset`, from there on.

        Its records as far as they can be found; where there are none, the gap that it leaves. None if the
        broker's bytes can be decoded after all. Raises Retryable without an answer in time.
        """
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, **self.options)
        try:
            async with asyncio.timeout(self.deadline_s):
                await client.bootstrap()
                client.set_topics([partition.topic])
                await client.force_metadata_update()
                fetched = await _fetch(client, partition, offset)
                if not fetched.content:
                    return None
                # In a thread: the batch can be of 64 MB, in a million pieces.
                message = await asyncio.to_thread(decoding_failure, fetched.content)
                if message is None:
                    return None
                found = await asyncio.to_thread(_salvaged, fetched, partition, offset, max_records, max_bytes)
                if isinstance(found, Salvaged):
                    return found
                lost = found or await batch_range(partial(_batch_at, client, partition), offset, fetched.end)
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise Retryable(f"where a batch ends is not known yet: {type(error).__name__}") from error
        finally:
            await client.close()
        return Gap(partition, *lost, GapReason.UNDECODABLE, message) if lost is not None else None


def _salvaged(
    fetched: "_Fetched", partition: Partition, offset: int, max_records: int, max_bytes: int
) -> Salvaged | Lost | None:
    """What can be read of the first batch; None where its bytes are not those that were written."""
    batches = MemoryRecords(fetched.content)
    try:
        batch = batches.next_batch() if batches.has_next() else None
        if batch is None or not batch.validate_crc():
            return None
    except Exception:  # the length field, or an old format: `decoding_failure` has said so
        return None
    if batch.is_transactional and any(
        producer == batch.producer_id and first <= batch.base_offset for producer, first in fetched.aborted
    ):
        return Salvaged((), batch.next_offset)  # never happened: skipped as aiokafka does
    return salvage(fetched.content, partition, offset, max_records, max_bytes)


def decoding_failure(content: bytes) -> str | None:
    """Why the first batch in `content` cannot be decoded; None when every record of it can be.

    The proof that an error of the consumer was about these bytes and not about anything else.
    """
    try:
        batches = GuardedRecords(content)
        if not batches.has_next():
            return "the length field of the batch goes beyond the batch"
        batch = batches.next_batch()
        if not batch.validate_crc():
            return "the checksum of the batch is wrong"
        empty = True
        for record in batch:
            empty = False
            if batch.is_control_batch:
                ControlRecord.parse(record.key)
        if empty and batch.is_control_batch:
            return "a control batch without a record"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS]
    return None


@dataclass(frozen=True, slots=True)
class _Fetched:
    content: bytes
    end: int  # of what may be read: transactions still open lie behind it
    # Producer's id and first offset of each transaction that was taken back.
    aborted: Sequence[tuple[int, int]]


async def _batch_at(client: Any, partition: Partition, offset: int) -> Found | None:
    """The batch at `offset` as its header describes it, for `batch_range`."""
    content = (await _fetch(client, partition, offset)).content
    if not content:
        return None
    header = header_of(content)
    # Not even a header: one offset at a time.
    return Found(header.base, header.last) if header is not None else Found(offset, offset)


async def _fetch(client: Any, partition: Partition, offset: int) -> _Fetched:
    """Fetch one batch and the log's end. Answers of different protocol versions have different fields."""
    topic_partition = TopicPartition(*partition)
    wanted = [(partition.topic, [(partition.number, offset, _ONE_BATCH_BYTES)])]
    request = FetchRequest(_WAIT_MS, 1, _ONE_BATCH_BYTES, _READ_COMMITTED, wanted, rack_id="")
    leader = client.cluster.leader_for_partition(topic_partition)
    if leader is None or leader < 0:
        raise Retryable("the partition has no leader at the moment")
    response = await client.send(leader, request)
    [(_, [(_, code, high_watermark, *others)])] = response.topics
    if code:
        raise for_code(code)(f"{partition.topic}-{partition.number} at {offset}")
    # Versions before 4 have no last stable offset; the batches are always the last field.
    stable = others[0] if response.API_VERSION >= 4 and others[0] >= 0 else high_watermark
    # The list of aborted transactions is the only one among the fields between.
    aborted = next((field for field in others[:-1] if isinstance(field, list)), [])
    return _Fetched(others[-1] or b"", min(stable, high_watermark), aborted)
