"""Waiting between attempts, in a role that must go on beating and end at once when it is told to."""

import asyncio
import random
from collections.abc import Callable

from worker.timing import Clock, run_until_stopped

_SHORTEST_S = 0.05
# Recovery is noticed within this time.
_LONGEST_S = 5.0


class Patience:
    """Exponential waits with full jitter; `reset` after a success."""

    def __init__(self, clock: Clock, beat: Callable[[], None], seed: int | None = None) -> None:
        self._clock = clock
        self._beat = beat
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    async def back_off(self, stop: asyncio.Event) -> None:
        """Wait 0.05 to 5 s, longer with each failure in a row; ends at once with `stop`."""
        longest = min(_LONGEST_S, _SHORTEST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        await self.pause(stop, self._random.uniform(_SHORTEST_S, max(_SHORTEST_S, longest)))

    async def pause(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait; ends at once with `stop`."""
        self._beat()
        await run_until_stopped(self._clock.sleep(seconds), stop)
        self._beat()
