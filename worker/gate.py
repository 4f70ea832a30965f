"""What operators have paused or slowed down, as the loops of the roles see it: one value, handed in.

A gate is asked between two pieces of work and never within one, a follower's turn being several, and by no fold:
whoever goes through it finishes what it has begun. Without an operator it is open.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil

from worker.timing import Clock, run_until_stopped

# The parts of a second in which a rate is used up: fewer and larger turns cost less than many of one thing each.
_TURNS_PER_SECOND = 4
# Whoever waits looks again this often: the gate may be another by then.
LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Switches:
    """Everything that is paused, by its name, and how many things a second some roles may do at most."""

    roles: frozenset[str] = frozenset()
    partitions: frozenset[tuple[str, int]] = frozenset()
    projections: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    rates: Mapping[str, float] = field(default_factory=dict)


OPEN = Switches()


class Gate:
    """The switches as they are at this moment. Whoever reads the database turns them; the roles only look."""

    def __init__(self, switches: Switches = OPEN) -> None:
        self.switches = switches
        self._holds: dict[tuple[str, int], int] = {}
        self._reads = 0

    def turn(self, switches: Switches) -> None:
        """Replace all switches at once."""
        self.switches = switches

    def begin_read(self) -> int:
        """Note that reading what operators say begins now; returns the number of this read."""
        self._reads += 1
        return self._reads

    def was_read(self, number: int) -> None:
        """The switches are those of that read: what was held before it began is held by them, or by nobody."""
        self._holds = {each: after for each, after in self._holds.items() if after >= number}

    def pauses(self, role: str) -> bool:
        """Whether a role is to do nothing."""
        return role in self.switches.roles

    def hold(self, partition: tuple[str, int]) -> None:
        """Pause a partition, which the database says from now on, until a read that begins after this has ended."""
        self._holds[partition] = self._reads

    def held(self, role: str, partitions: Iterable[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """Those of a role's partitions that are not to be read now."""
        if self.pauses(role):
            return frozenset(partitions)
        return frozenset(
            each for each in partitions if each in self.switches.partitions or each in self._holds
        )

    def rate(self, name: str) -> Callable[[], float | None]:
        """Asks for a rate by its name: so many a second at most, None for any number."""
        return lambda: self.switches.rates.get(name)


class Rate:
    """At most `per_s` things a second on average, a second's worth at once at most; None lets all through."""

    def __init__(self, clock: Clock, per_s: Callable[[], float | None]) -> None:
        self._clock = clock
        self._per_s = per_s
        self._owed = 0.0
        self._settled_at = clock.monotonic()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._per_s() is not None

    def room(self, most: int) -> int:
        """How many things may be done now, at most so many; 0 until it is worth a turn."""
        per_s = self._settle()
        if per_s is None:
            return most
        room = per_s - self._owed
        return 0 if room < _turn(per_s) else min(most, ceil(room))

    def spend(self, number: int) -> None:
        """Note that so many things were done, if there was room for them or not: their time is waited for."""
        if self._settle() is not None:
            self._owed += number

    def free_in_s(self) -> float:
        """Seconds until there is room, 0 if there is."""
        per_s = self._settle()
        if per_s is None:
            return 0.0
        return max(0.0, (self._owed - per_s + _turn(per_s)) / per_s)

    async def ready(self, stop: asyncio.Event) -> bool:
        """Wait for room, half a second at most and until `stop`; True if there is some then."""
        if (rest_s := self.free_in_s()) > 0:
            await run_until_stopped(self._clock.sleep(min(rest_s, LOOK_AGAIN_S)), stop)
        return self.free_in_s() <= 0

    def _settle(self) -> float | None:
        """Take off what time has paid for, and return the rate as it is now."""
        per_s, now = self._per_s(), self._clock.monotonic()
        paid = (now - self._settled_at) * (per_s or 0.0)
        self._owed = 0.0 if per_s is None else max(0.0, self._owed - paid)
        self._settled_at = now
        return per_s


def _turn(per_s: float) -> float:
    """The least that is worth a turn."""
    return min(per_s, max(1.0, per_s / _TURNS_PER_SECOND))
