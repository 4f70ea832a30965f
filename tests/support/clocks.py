"""Clocks that only a test moves."""

import asyncio
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Starts at a fixed date; `advance` moves wall and monotonic time together, `sleep` moves them itself."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._elapsed_s += seconds


class SteppedClock:
    """Stands still until a test moves it; whoever sleeps wakes up when it has come to its time."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._since = start
        self._sleepers: list[tuple[datetime, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._since).total_seconds()

    async def sleep(self, seconds: float) -> None:
        sleeper = (self._now + timedelta(seconds=seconds), asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            if seconds > 0:
                await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    def move_to(self, moment: datetime) -> None:
        """Let all the time up to there pass at once."""
        assert moment >= self._now
        self._now = moment
        for until, woken in self._sleepers:
            if until <= moment:
                woken.set()

    @property
    def left(self) -> list[timedelta]:
        """How long each of those sleeps on that have not been woken up, the shortest first."""
        return sorted(until - self._now for until, woken in self._sleepers if not woken.is_set())
