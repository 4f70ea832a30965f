"""Reading around what cannot be decoded: it costs one record, or its batch where records cannot be told apart.

aiokafka decodes inside `getmany`. The exception names no partition, comes again at every fetch, and with it go the
records of other partitions that the same call had already taken. Hence four steps: `PartitionPoller` rewinds and has
partitions read one by one, one record a call (good records before the broken one are delivered); where the first
record fails again and again, it is proved on the broker's bytes, and that batch is taken apart by
`worker.kafka.record_batch`. What cannot be found in it is a gap, and the broker is asked where that ends.
"""

import asyncio
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import cramjam
from aiokafka import TopicPartition, errors

from worker.errors import Retryable
from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.positions import Gap
from worker.kafka.record import Partition
from worker.kafka.record_batch import Salvaged, message_bytes
from worker.timing import Clock

# Fetched anew each time, and once more for its bounds: what was damaged on its way is whole the next time.
_TRIES: Final = 2
_BETWEEN_TRIES_S: Final = 0.1
# The first record of a partition that has some: fetches of other partitions may be under way.
_FIRST_RECORD_MS: Final = 1_000
# Records taken in one go before other tasks have their turn.
_TURN: Final = 500
# The one plain KafkaError that is about a batch; it has no class of its own.
_EMPTY_CONTROL_BATCH: Final = "Control batch did not contain any records"
# RecordTooLarge: brokers always send the first batch whole, so its length field is broken.
_BATCH_ERRORS = (errors.CorruptRecordException, errors.UnsupportedCodecError, errors.RecordTooLargeError)
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
class CorruptBatch:
    """The next records of a partition can never be read; nothing has been skipped yet."""

    gap: Gap
    generation: int


def about_a_batch(error: Exception) -> bool:
    """True for an error of `getmany` that may mean a broken batch; anything about broker, group or network is not."""
    if isinstance(error, errors.KafkaError):
        return isinstance(error, _BATCH_ERRORS) or _EMPTY_CONTROL_BATCH in str(error)
    return isinstance(error, _DECODING_ERRORS) or type(error) is RuntimeError


class SinglePartitionReader:
    """Reads one partition of a consumer alone, up to a batch that cannot be decoded."""

    def __init__(self, consumer: Any, bounds: BatchBounds, clock: Clock, max_bytes: int) -> None:
        self._consumer = consumer
        self._bounds = bounds
        self._clock = clock
        self._max_bytes = max_bytes

    async def read(self, partition: TopicPartition, position: int, max_records: int) -> list[Any] | Gap:
        """From `position` up to what has been fetched, or to a broken batch; a gap if the first record is in one."""
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
        asked = Partition(*partition), position, max_records, self._max_bytes
        broken = await self._bounds.broken_at(*asked)
        if broken is None:
            raise Retryable("a batch could not be decoded, but the broker's bytes can be")
        if isinstance(broken, Salvaged):
            self._consumer.seek(partition, broken.next_offset)
            return list(broken.records)
        return broken

    def _at_end(self, partition: TopicPartition, position: int) -> bool:
        """True when the latest fetch saw nothing behind `position`."""
        if partition not in self._consumer.assignment():
            raise errors.IllegalStateError(f"{partition} has been revoked")
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
