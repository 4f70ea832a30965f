"""Where to start reading a partition, decided from what the broker says: pure."""

from dataclasses import dataclass

from worker.contract.gaps import GapReason
from worker.kafka.record import Partition
from worker.settings import StartPolicy


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `first_offset` to `last_offset`, both included, that will never be read."""

    partition: Partition
    first_offset: int
    last_offset: int
    reason: GapReason
    message: str


@dataclass(frozen=True, slots=True)
class LogRange:
    """What the broker holds of a partition: the first offset there is, and the next to be written if known."""

    begin: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Start:
    """The next offset to read, and the gap that lies before it, if any."""

    offset: int
    gap: Gap | None = None


def first_of(log: LogRange, latest: int, policy: StartPolicy, *, added: bool) -> int:
    """Where reading begins in a partition of which the group has no durable offset yet.

    `latest` is the log's end when it was asked for. In a partition that was `added` after the group had begun,
    every record is a new one: there is nothing old to skip.
    """
    return latest if policy == "latest" and not added else log.begin


def start_of(partition: Partition, position: int, log: LogRange) -> Start:
    """Decide where reading goes on from `position`, the next offset to read.

    Behind the log's begin: retention was faster, the range is a gap. Beyond its end: the log was restarted;
    everything in it is new, and event ids, not offsets, tell what was stored before.
    """
    if position < log.begin:
        message = "the log begins after the position: retention or deletion removed these records unread"
        return Start(log.begin, Gap(partition, position, log.begin - 1, GapReason.RETENTION, message))
    if log.end is not None and position > log.end:
        message = "the position lies beyond the end: the log was restarted and is read from its begin"
        return Start(log.begin, Gap(partition, log.end, position - 1, GapReason.LOG_RESTARTED, message))
    return Start(position)
