"""Live work comes first: a run waits at its steps while what happens now is shown too late."""

from typing import Protocol

from worker.settings import JobsSettings
from worker.storage.database import Database
from worker.timing import Clock
from worker.watch.freshness import Freshness


class Gate(Protocol):
    """What a run passes after each of its steps."""

    async def closed(self) -> str | None:
        """Why to wait, in words; None to go on. Cheap enough to be asked at every step."""


class LiveFirst:
    """Closed while live projections lag more than `max_lag_s` behind the event store; never, where that is 0."""

    def __init__(self, database: Database, settings: JobsSettings, clock: Clock) -> None:
        self._freshness = Freshness(database, clock)
        self._settings, self._clock = settings, clock
        self._look_at = clock.monotonic()
        self._said: str | None = None

    async def closed(self) -> str | None:
        """Measured every `measure_every_s`; in between it is as it was."""
        limit_s = self._settings.max_lag_s
        if not limit_s or self._clock.monotonic() < self._look_at:
            return self._said
        behind_s = await self._freshness.behind_s()
        self._look_at = self._clock.monotonic() + self._settings.measure_every_s
        self._said = f"waits: live work is {behind_s:.1f} s behind" if behind_s > limit_s else None
        return self._said
