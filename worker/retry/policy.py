"""How often, how soon and how fast: the decisions of retry as pure functions of numbers."""

import math
import random
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from worker.settings import RetrySettings
from worker.timing import backoff_s

T = TypeVar("T")

# Below, a wait is none. Full jitter alone would give any wait down to 0.
_SHORTEST_WAIT_S = 0.1
# A wait shorter than this may not move the clock at all, and the caller would turn on the spot.
_CLOCK_STEP_S = 0.001
# A cap is spent in tenths of a second, so that an outage's backlog is a steady load and no burst a second.
TURNS_PER_SECOND = 10


def wait_s(attempt: int, settings: RetrySettings, source: random.Random) -> float:
    """Seconds to wait after failed attempt number `attempt`: exponential, full jitter, bounded."""
    return max(
        _SHORTEST_WAIT_S,
        backoff_s(attempt, settings.backoff_s, settings.longest_backoff_s, source.random()),
    )


class RateCap:
    """At most `per_s` attempts in any second, wherever that second begins.

    A permit comes back one second after its attempt was completed. So neither the claims nor the attempts nor
    their outcomes of any second exceed the cap, however long an attempt takes. Times are monotonic seconds.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._spent: deque[tuple[float, int]] = deque()

    def room(self, now: float) -> int:
        """Attempts that may begin now, none being under way."""
        while self._spent and self._spent[0][0] <= now - 1.0:
            self._spent.popleft()
        return self._per_s - sum(count for _, count in self._spent)

    def spend(self, count: int, now: float) -> None:
        """Note `count` attempts that have just ended, at most as many as there was room for when they began."""
        if count:
            self._spent.append((now, count))

    def fill(self, now: float) -> None:
        """Take all room for one second: what another worker did in the second before is not known."""
        self.spend(self.room(now), now)

    def free_in_s(self, now: float) -> float:
        """Seconds until at least one attempt may begin, as far as completed ones decide."""
        if self.room(now) > 0 or not self._spent:
            return 0.0
        return max(_CLOCK_STEP_S, self._spent[0][0] + 1.0 - now)


def turn_size(per_s: int, last_turn_s: float = 0.0) -> int:
    """How many items one turn claims: a tenth of a second's worth, or what a slow last turn left behind.

    At most two tenths: permits come back after a turn is completed, so that long turns would waste them.
    """
    tenth_s = 1 / TURNS_PER_SECOND
    return max(1, math.ceil(per_s * min(2 * tenth_s, max(tenth_s, last_turn_s))))


def first_of_each(rows: Sequence[T], streams: Sequence[str]) -> list[T]:
    """The first row of each stream; `rows` are ordered by stream, `streams` names each row's."""
    before = [None, *streams]
    return [row for row, stream, last in zip(rows, streams, before, strict=False) if stream != last]


def shared(some: Sequence[T], others: Sequence[T], limit: int) -> list[T]:
    """Up to `limit` of both, half and half; what one does not need is the other's."""
    half = max(limit // 2, limit - len(others))
    chosen = list(some[:half])
    return [*chosen, *others[: limit - len(chosen)]]
