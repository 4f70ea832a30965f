"""How far a partition is behind, in records and in seconds, and since when: pure, time is an argument.

Nobody can ask Kafka how old the first record is that has not been read. What is known of it, from the best to the
worst: its own time, if it is in hand and not durable yet; when the log was first seen to be longer than what is
durable, if it was seen to be no longer before; the time of the last durable record, behind which it lies.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

# Samples of one log: those of ten minutes without a pause. Of an outage of eight hours they are two minutes apart.
_MOST_SAMPLES: Final = 200


class Lag(NamedTuple):
    """How many records are not durable, and how old the first of them is; both 0 where there is none."""

    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Owned:
    """What ingest knows of a partition that this worker owns.

    `durable` is the next offset to read that Kafka has accepted, None while the assignment is being made ready.
    `end` is that of the last fetch, None before the first. `first_in_hand` is Kafka's time of the first record that
    was read and is not durable, `last_durable` that of the last one that is.
    """

    durable: int | None = None
    end: int | None = None
    first_in_hand: datetime | None = None
    last_durable: datetime | None = None
    is_paused: bool = False


@dataclass(slots=True)
class EndHistory:
    """When the log of one partition was first seen to have grown, as offsets with monotonic seconds, in order."""

    _ends: list[int] = field(default_factory=list)
    _at: list[float] = field(default_factory=list)

    @property
    def end(self) -> int | None:
        """The end that was seen last."""
        return self._ends[-1] if self._ends else None

    def saw(self, end: int, now: float) -> None:
        """Note an end. One that is lower is of another log, or of an answer that was wrong before."""
        while self._ends and self._ends[-1] > end:
            self._ends.pop()
            self._at.pop()
        if not self._ends or self._ends[-1] < end:
            self._ends.append(end)
            self._at.append(now)
        if len(self._ends) > _MOST_SAMPLES:
            self._thin_out()

    def _thin_out(self) -> None:
        """Forget the one whose neighbours are closest in time; never the first that waits, behind what is durable."""
        at = self._at
        crowded = min(range(2, len(at) - 1), key=lambda number: at[number + 1] - at[number - 1])
        del self._ends[crowded], self._at[crowded]

    def forget_below(self, offset: int) -> None:
        """Forget what is older than the last end that is not above an offset."""
        old = bisect_right(self._ends, offset) - 1
        if old > 0:
            del self._ends[:old], self._at[:old]

    def waits_since(self, offset: int) -> tuple[float, bool] | None:
        """When a record at this offset was first seen to be there, None if it is not; and whether it was new then.

        It was new if the log was seen to end there before.
        """
        first = bisect_right(self._ends, offset)
        return (self._at[first], first > 0) if first < len(self._ends) else None


def lag_of(history: EndHistory, owned: Owned, base: int, *, now: datetime, monotonic: float) -> Lag | None:
    """The lag behind `base`, the next offset to read; None while nobody knows where the log ends."""
    if history.end is None:
        return None
    waits = history.waits_since(base)
    if waits is None:
        return Lag(0, 0.0)
    since, was_new = waits
    waited_s = monotonic - since
    stamp = owned.first_in_hand or (None if was_new else owned.last_durable)
    by_its_time_s = (now - stamp).total_seconds() if stamp is not None else 0.0
    return Lag(history.end - base, max(0.0, waited_s, by_its_time_s))
