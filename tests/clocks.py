"""A clock that only a test moves, and how long a test waits by the other one."""

from datetime import UTC, datetime, timedelta

# For one condition, most of which are met within a second: only a failure waits this long, also on a machine that has
# ten times as much to do as it can.
BUSY_LIMIT_S = 240.0


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
