"""A share of the CPU for work that has time: after each step it rests until it has taken no more than that."""

import os
import time
from collections.abc import Awaitable, Callable

from worker.timing import Clock

# A rest may be long; so often somebody looks whether the work is still wanted.
_LOOK_S = 5.0


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CpuBudget:
    """So many `percent` of all `cores`, of what this process computes from now on; `ready` is asked while it rests.

    Whatever else runs in the same process counts, too: the work takes less then, never more.
    """

    def __init__(
        self,
        clock: Clock,
        percent: float,
        ready: Callable[[], Awaitable[None]],
        *,
        cores: int,
        computed_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock, self._ready, self._computed_s = clock, ready, computed_s
        self._share = cores * percent / 100
        self._began_at, self._computed_at = clock.monotonic(), computed_s()

    @property
    def taken_s(self) -> float:
        """Seconds of CPU since the beginning."""
        return self._computed_s() - self._computed_at

    async def rest(self) -> None:
        """Return when what was computed since the beginning is within the share."""
        until = self._began_at + self.taken_s / self._share
        while (left_s := until - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left_s, _LOOK_S))
            await self._ready()
