"""What cannot be decoded costs itself and nothing else: one record, or its batch where records cannot be told apart.

aiokafka decodes inside `getmany`. The exception names no partition, comes again at every fetch, and with it go the
records of other partitions that the same call had already taken. Hence four steps: rewind; read the partitions one
by one, one record a call (good records before the broken one are delivered); where the first record fails again and
again, prove it on the broker's bytes and take that batch apart ourselves. What cannot be found in it is a gap, and
the broker is asked where that ends.
"""

import asyncio
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cramjam
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    RecordTooLargeError,
    UnsupportedCodecError,
)

from worker.errors import Retryable
from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.positions import Gap
from worker.kafka.record import Partition
from worker.kafka.record_batch import Salvaged, message_bytes
from worker.telemetry.metrics import GapReason
from worker.timing import Clock

log = structlog.get_logger(__name__)

Polled = Mapping[TopicPartition, Sequence[Any]]

# As long as an idle consumer waits for records.
_POLL_MS: Final = 500
# What lay ready is as old as the poll before, and what came since is still at the broker: a poll that found few
# records waits at most this long for it. At 1,000 events a second they were 50 ms younger for 3 ms of waiting.
_FEW: Final = 500
_FRESH_MS: Final = 10
# Fetched anew each time, and once more for its bounds: what was damaged on its way is whole the next time.
_TRIES: Final = 2
_BETWEEN_TRIES_S: Final = 0.1
# The first record of a partition that has some: fetches of other partitions may be under way.
_FIRST_RECORD_MS: Final = 1_000
# Sizes are known after the records have been taken, so they are taken in slices, of fewer where they are large.
_SLICE: Final = 100
# A poll that exceeds its bytes by more than this share gives the rest back: it is fetched anew, which costs more
# than a few bytes too many.
_EXCESS: Final = 0.25
# Records taken in one go before other tasks have their turn.
_TURN: Final = 500
# The one plain KafkaError that is about a batch; it has no class of its own.
_EMPTY_CONTROL_BATCH: Final = "Control batch did not contain any records"
# RecordTooLarge: brokers always send the first batch whole, so its length field is broken.
_BATCH_ERRORS = (CorruptRecordException, UnsupportedCodecError, RecordTooLargeError)
# What else decoding can raise: decompression (worker.kafka.codecs), cut or inconsistent fields, header names.
_DECODING_ERRORS = (
    ValueError,
    LookupError,
    ArithmeticError,
    AssertionError,
    TypeError,
    EOFError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The next records of a partition can never be read; nothing has been passed over yet."""

    gap: Gap
    generation: int


def about_a_batch(error: Exception) -> bool:
    """True for an error of `getmany` that may mean a broken batch; anything about broker, group or network is not."""
    if isinstance(error, KafkaError):
        return isinstance(error, _BATCH_ERRORS) or _EMPTY_CONTROL_BATCH in str(error)
    return isinstance(error, _DECODING_ERRORS) or type(error) is RuntimeError


class Reader:
    """Polls a consumer and keeps the next offset of each partition that has not been returned yet.

    `max_bytes` bounds what a poll returns: compressed fetches can unpack to a multiple of the memory there is.
    What is not about a batch comes out of `poll` as aiokafka raised it, with the positions as they were before.
    """

    def __init__(self, consumer: Any, bounds: BatchBounds, clock: Clock, max_bytes: int) -> None:
        self._consumer = consumer
        self._bounds = bounds
        self._clock = clock
        self._max_bytes = max_bytes
        self._next: dict[TopicPartition, int] = {}
        # Whose next records may be broken, and the end of its log at that time; None where it is not known.
        self._suspects: dict[TopicPartition, int | None] = {}
        self._record_bytes = 0.0  # of the latest slice, on average

    def forget(self) -> None:
        """The assignment is over."""
        self._next, self._suspects = {}, {}

    def moved(self, partition: TopicPartition, offset: int) -> None:
        """Reading goes on at `offset`, which the consumer has already been told or found out by itself."""
        self._next[partition] = offset

    async def poll(self, max_records: int, *, only: TopicPartition | None = None) -> Polled | Gap:
        """The next records; or the gap that comes next, again and again until `moved` passes over it.

        `only` asks one partition, unless a broken batch is being looked for.
        """
        if self._suspects:
            return await self._poll_suspect(next(iter(self._suspects)), max_records)
        polled: dict[TopicPartition, list[Any]] = {}
        try:
            await self._take(polled, max_records, [only] if only else [])
        except Exception as error:
            self.rewind()
            if about_a_batch(error):
                suspects = sorted(self._next.keys() & self._consumer.assignment())
                self._suspects = {partition: self._consumer.highwater(partition) for partition in suspects}
                log.warning("batch_not_decoded", error=type(error).__name__)
            elif not polled:
                raise
            # Else it comes again with the next poll, which has nothing in hand yet.
        return polled

    async def _take(
        self, into: dict[TopicPartition, list[Any]], max_records: int, only: Sequence[TopicPartition]
    ) -> None:
        """Slice by slice until enough is taken or no more is at hand.

        aiokafka fetches more of a partition when what it has of it is taken. So it is waited once: for the first
        records, or, where some lay ready, for what has come since. All belong to one assignment: what was taken
        before another one came is dropped, and read again by whoever has it now.
        """
        assigned = self._next
        records, size_bytes, wait_ms, waited = 0, 0, 0, False
        while records < max_records and size_bytes < self._max_bytes:
            wanted = min(_SLICE, max_records - records, self._fitting(size_bytes))
            try:
                part = await self._consumer.getmany(*only, timeout_ms=wait_ms, max_records=wanted)
            finally:
                if assigned is not self._next:
                    into.clear()
                    assigned, records, size_bytes = self._next, 0, 0
            if not part:
                if waited or records >= _FEW:
                    return
                waited, wait_ms = True, _FRESH_MS if records else _POLL_MS
                continue
            wait_ms = 0
            kept, kept_bytes = self._cut(part, size_bytes)
            self._returned(kept)
            for partition, messages in kept.items():
                into.setdefault(partition, []).extend(messages)
            number = sum(map(len, kept.values()))
            records, size_bytes = records + number, size_bytes + kept_bytes
            self._record_bytes = kept_bytes / number

    def _fitting(self, size_bytes: int) -> int:
        """How many more records will fit, if they are as large as those before."""
        return (
            max(1, int((self._max_bytes - size_bytes) / self._record_bytes)) if self._record_bytes else _SLICE
        )

    def _cut(self, part: Polled, size_bytes: int) -> tuple[Polled, int]:
        """What of a slice is kept, and its bytes; what is far too much is given back, but for the first record."""
        sizes = {
            partition: [message_bytes(each) for each in messages] for partition, messages in part.items()
        }
        total = sum(map(sum, sizes.values()))
        if size_bytes + total <= (1 + _EXCESS) * self._max_bytes:
            return part, total
        kept: dict[TopicPartition, Sequence[Any]] = {}
        kept_bytes = 0
        for partition, messages in part.items():
            number = 0
            while number < len(messages) and (size_bytes + kept_bytes < self._max_bytes or not kept_bytes):
                kept_bytes += sizes[partition][number]
                number += 1
            if number:
                kept[partition] = messages[:number]
            if number < len(messages):
                self._consumer.seek(partition, messages[number].offset)
        return kept, kept_bytes

    def _returned(self, polled: Polled) -> None:
        self._next.update({partition: messages[-1].offset + 1 for partition, messages in polled.items()})

    def rewind(self) -> None:
        """Take back what a failed poll had passed: other partitions' records are lost with its exception."""
        for partition in self._next.keys() & self._consumer.assignment():
            self._consumer.seek(partition, self._next[partition])

    async def _poll_suspect(self, partition: TopicPartition, max_records: int) -> Polled | Gap:
        """One partition alone: what comes before a broken batch, or the gap; no suspect any more if neither.

        Nor once it is past all there was to be fetched when it became one: a busy partition has never been read to
        its end. Until then the suspects take turns.
        """
        assigned = self._next
        try:
            found = await self._read_alone(partition, max_records)
            position = await self._consumer.position(partition)
        except IllegalStateError:
            return {}  # revoked meanwhile
        if assigned is not self._next:
            return {}  # read under an assignment that is over
        if isinstance(found, Gap):
            return found
        end = self._suspects.pop(partition)
        if not found:
            self._next[partition] = position  # nothing but markers and aborted records was passed
            return {}
        self._returned({partition: found})
        if end is None or self._next[partition] < end:
            self._suspects[partition] = end
        return {partition: found}

    async def _read_alone(self, partition: TopicPartition, max_records: int) -> list[Any] | Gap:
        """Up to what has been fetched, or up to a broken batch; a gap when the very first record is in one."""
        position = self._next[partition]
        if self._at_end(partition, position):
            return []
        for attempt in range(_TRIES):
            if attempt:
                await self._clock.sleep(_BETWEEN_TRIES_S)
            taken, error = await self._take_singly(partition, max_records)
            if error is not None:  # fetch anew, from where aiokafka may have gone on
                self._consumer.seek(partition, taken[-1].offset + 1 if taken else position)
            if taken or error is None:
                return taken
            if not about_a_batch(error):
                raise error
        wanted = Partition(partition.topic, partition.partition)
        broken = await self._bounds.broken_at(wanted, position, max_records, self._max_bytes)
        if broken is None:
            raise Retryable("a batch could not be decoded, but the broker's bytes can be")
        if isinstance(broken, Salvaged):
            self._consumer.seek(partition, broken.next_offset)
            return list(broken.records)
        return Gap(wanted, broken.first, broken.last, GapReason.UNDECODABLE, broken.message)

    def _at_end(self, partition: TopicPartition, position: int) -> bool:
        """True when the latest fetch saw nothing behind `position`."""
        if partition not in self._consumer.assignment():
            raise IllegalStateError(f"{partition} has been revoked")
        high_watermark = self._consumer.highwater(partition)
        return high_watermark is not None and position >= high_watermark

    async def _take_singly(
        self, partition: TopicPartition, max_records: int
    ) -> tuple[list[Any], Exception | None]:
        """One record a call: aiokafka then moves the position record by record, and an error loses none."""
        taken: list[Any] = []
        size_bytes = 0
        try:
            while len(taken) < max_records and size_bytes < self._max_bytes:
                wait_ms = 0 if taken else _FIRST_RECORD_MS
                polled = await self._consumer.getmany(partition, timeout_ms=wait_ms, max_records=1)
                if not polled:
                    break
                taken += polled[partition]
                size_bytes += message_bytes(taken[-1])
                if len(taken) % _TURN == 0:
                    await asyncio.sleep(0)
        except Exception as error:  # decoding raises all kinds; the caller classifies
            return taken, error
        return taken, None
