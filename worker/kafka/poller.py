"""Polls within bounds of records and bytes, and keeps the next offset of each partition: a failed poll loses nothing.

What cannot be decoded is read around partition by partition (see `corrupt_batches`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.corrupt_batches import SinglePartitionReader, about_a_batch
from worker.kafka.positions import Gap
from worker.kafka.record_batch import message_bytes
from worker.timing import Clock

log = structlog.get_logger(__name__)

Polled = Mapping[TopicPartition, Sequence[Any]]

# As long as an idle consumer waits for records.
_POLL_MS: Final = 500
# What lay ready is as old as the poll before, and what came since is still at the broker: a poll that found few
# records waits at most this long for it. At 1,000 events a second they were 50 ms younger for 3 ms of waiting.
_FEW: Final = 500
_FRESH_MS: Final = 10
# Sizes are known after the records have been taken, so they are taken in slices, of fewer where they are large.
_SLICE: Final = 100
# A poll that exceeds its bytes by more than this share gives the rest back: it is fetched anew, which costs more
# than a few bytes too many.
_EXCESS: Final = 0.25


class PartitionPoller:
    """Polls a consumer and keeps the next offset of each partition that has not been returned yet.

    `max_bytes` bounds what a poll returns: compressed fetches can unpack to a multiple of the memory there is.
    What is not about a batch comes out of `poll` as aiokafka raised it, with the positions as they were before.
    """

    def __init__(self, consumer: Any, bounds: BatchBounds, clock: Clock, max_bytes: int) -> None:
        self._consumer = consumer
        self._max_bytes = max_bytes
        self._alone = SinglePartitionReader(consumer, bounds, clock, max_bytes)
        self._next: dict[TopicPartition, int] = {}
        # Whose next records may be broken, and the end of its log at that time; None where it is not known.
        self._suspects: dict[TopicPartition, int | None] = {}
        self._record_bytes = 0.0  # of the latest slice, on average

    @property
    def has_ended(self) -> bool:
        """True when the consumer's fetching has ended with an error: nothing comes any more, and nobody says so."""
        return bool(self._consumer._fetcher.error_future.done())  # noqa: SLF001  # nobody else looks at it

    def forget(self) -> None:
        """Forget all positions: the assignment is over."""
        self._next, self._suspects = {}, {}

    def moved(self, partition: TopicPartition, offset: int) -> None:
        """Reading goes on at `offset`, which the consumer has already been told or found out by itself."""
        self._next[partition] = offset

    async def poll(self, max_records: int, *, only: TopicPartition | None = None) -> Polled | Gap:
        """The next records; or the gap that comes next, again and again until `moved` skips it.

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
            # Else it comes again with the next poll, which has taken nothing yet.
        return polled

    async def _take(
        self, into: dict[TopicPartition, list[Any]], max_records: int, only: Sequence[TopicPartition]
    ) -> None:
        """Take records in slices until there are enough, or no more at once.

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
        room = self._max_bytes - size_bytes
        return max(1, int(room / self._record_bytes)) if self._record_bytes else _SLICE

    def _cut(self, part: Polled, size_bytes: int) -> tuple[Polled, int]:
        """What of a slice is kept, and its bytes; what is far too much is given back, but for the first record."""
        sizes = {partition: list(map(message_bytes, messages)) for partition, messages in part.items()}
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
        """Go back to what was returned last: an exception of a poll takes other partitions' records with it."""
        for partition in self._next.keys() & self._consumer.assignment():
            self._consumer.seek(partition, self._next[partition])

    async def _poll_suspect(self, partition: TopicPartition, max_records: int) -> Polled | Gap:
        """Read one suspect alone: what comes before a broken batch, or the gap. Without either it is none any more.

        Nor once it is past all there was to be fetched when it became one: a busy partition has never been read to
        its end. Until then the suspects take turns.
        """
        assigned = self._next
        try:
            found = await self._alone.read(partition, self._next[partition], max_records)
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
