"""The record of an event in Kafka's log: read again if it is there still, and nothing committed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from worker.errors import WorkerError
from worker.kafka.log_reader import LogReader, NotInTheLog
from worker.kafka.positions import Gap
from worker.kafka.record import Partition, Record
from worker.storage.retrying import retrying_for
from worker.timing import Clock, Deadline

# A record that is there comes with the first answers. Where the log ends is not asked: not every broker knows
# (docs/decisions/2026-11-23-end-of-log-from-fetches.md).
_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the log holds at an offset, or `why` there is nothing, and the live group's next offset if it has one.

    Whether the record is there is not `known` where nobody could be asked: `why` says what was in the way.
    """

    record: Record | None = None
    why: str = ""
    committed: int | None = None
    known: bool = True

    def acknowledged(self, offset: int) -> bool | None:
        """Whether the group has the record behind it; None where nobody knows."""
        return None if self.committed is None else offset < self.committed


Look = Callable[[Partition, int], Awaitable[Seen]]


async def not_asked(_partition: Partition, _offset: int) -> Seen:
    """Where no broker answers."""
    return Seen(why="no broker was asked", known=False)


def looking_by(reader: LogReader, clock: Clock) -> Look:
    """Looks at one record after the other through an open reader; a broker without an answer is asked again."""

    async def look(partition: Partition, offset: int) -> Seen:
        once = partial(_look, reader, clock, partition, offset)
        try:
            return await retrying_for(_LIMIT_S, once, clock=clock)
        except WorkerError as error:
            return Seen(why=str(error), known=False)

    return look


async def _look(reader: LogReader, clock: Clock, partition: Partition, offset: int) -> Seen:
    if partition not in await reader.partitions():
        why = f"{partition.topic}/{partition.number} is none of the worker's partitions"
        return Seen(why=why, known=False)
    log = (await reader.log_ranges([partition]))[partition]
    committed = (await reader.committed([partition])).get(partition)
    if offset < log.begin:
        return Seen(None, f"retention has removed it: the log begins at {log.begin:,}", committed)
    reader.read_from({partition: offset})
    deadline = Deadline.after(clock, _LIMIT_S)
    try:
        while not deadline.passed:
            polled = await reader.poll()
            if isinstance(polled, Gap):
                return Seen(None, f"its batch cannot be read ({polled.reason})", committed)
            if polled is None:
                continue
            first = polled.records[0]
            if first.source.offset == offset:
                return Seen(first, "", committed)
            return Seen(None, "it is not in the log: compacted away, or of an aborted transaction", committed)
    except NotInTheLog:
        return Seen(None, "the log does not go so far: it was made anew since, or is another one", committed)
    if reader.high_watermark(partition) is None:  # no fetch was answered
        return Seen(None, "no answer from Kafka", committed, known=False)
    return Seen(None, "the log has no record there: it ends before, or a transaction is open", committed)
