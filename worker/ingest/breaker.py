"""A partition that holds mostly poison is paused for a while: no flood of dead letters, and nothing is dropped.

Pure: time is an argument. Closed: read as usual. Open: not read for `pause_s`. Half-open: a few records are read, and
they decide. What was read and is poison is a dead letter with its bytes; what was not read waits in Kafka.
"""

from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from worker.kafka.record import Partition


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """Opens when more than `share` of at least `least_records` records of `window_s` became dead letters."""

    share: float = 0.20
    least_records: int = 200
    window_s: float = 30.0
    pause_s: float = 30.0
    probe_records: int = 200


class Tally(NamedTuple):
    """What became of a partition's records in one batch, at this moment (monotonic seconds)."""

    at: float
    records: int
    dead_letters: int


class Breaker:
    """The state of every partition of one assignment."""

    def __init__(self, options: BreakerOptions) -> None:
        self._options = options
        self._windows: dict[Partition, deque[Tally]] = {}
        self._paused_until: dict[Partition, float] = {}

    @property
    def open(self) -> frozenset[Partition]:
        """Partitions that are not to be read, but for a probe."""
        return frozenset(self._paused_until)

    def forget(self) -> None:
        """Forget all partitions: the assignment is over."""
        self._windows.clear()
        self._paused_until.clear()

    def due(self, now: float, besides: Container[tuple[str, int]] = ()) -> Partition | None:
        """A partition that has been paused long enough for a probe, `besides` those; None if there is none."""
        paused = self._paused_until.items()
        return next((each for each, until in paused if until <= now and each not in besides), None)

    def note(
        self, now: float, records: Mapping[Partition, int], dead_letters: Mapping[Partition, int]
    ) -> dict[Partition, bool]:
        """Take in a batch; says which partitions have opened (True) or closed (False) by it.

        Records of a partition that has not been paused long enough were read before it opened: they are no probe.
        """
        changes: dict[Partition, bool] = {}
        for partition, count in records.items():
            if now < self._paused_until.get(partition, now):
                continue
            tally = Tally(now, count, dead_letters.get(partition, 0))
            was_open = partition in self._paused_until
            # A probe that found nothing to read found no poison either.
            failed = tally.dead_letters > self._options.share * tally.records
            is_open = failed if was_open else self._trips(partition, tally)
            if is_open:
                self._paused_until[partition] = now + self._options.pause_s
                self._windows.pop(partition, None)
            else:
                self._paused_until.pop(partition, None)
            if is_open != was_open:
                changes[partition] = is_open
        return changes

    def _trips(self, partition: Partition, tally: Tally) -> bool:
        window = self._windows.setdefault(partition, deque())
        window.append(tally)
        while window[0].at < tally.at - self._options.window_s:
            window.popleft()
        records = sum(each.records for each in window)
        dead_letters = sum(each.dead_letters for each in window)
        return records >= self._options.least_records and dead_letters > self._options.share * records
