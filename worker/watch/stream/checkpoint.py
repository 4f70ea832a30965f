"""When a change stream's token is saved: soon after changes had their effect, rarely while nothing happens."""

from collections.abc import Awaitable, Callable, Mapping

from worker.storage.leases import Token
from worker.telemetry.metrics import Metrics
from worker.timing import Clock


class TokenSaver:
    """Saves one open stream's token.

    `save` (see `Positions.save`) tells how many groups were refused for a newer epoch: they are counted, and
    their newer owner saves.

    `idle_every_s`: an idle stream's token is saved so that it does not leave the oplog; rarely, because the save
    itself moves it.
    """

    def __init__(
        self,
        save: Callable[[Mapping[int, int], Token], Awaitable[int]],
        watcher: str,
        clock: Clock,
        metrics: Metrics,
        *,
        every_s: float,
        idle_every_s: float,
    ) -> None:
        self._save = save
        self._clock = clock
        self._fenced = metrics.fenced_writes_total.labels(watcher)
        self._every_s = every_s
        self._idle_every_s = idle_every_s
        self._saved_at = clock.monotonic()
        self._changes = 0

    def took_effect(self, changes: int) -> None:
        """Say how many changes had their effect since the last call."""
        self._changes += changes

    async def save(self, held: Mapping[int, int], token: Token, *, at_once: bool = False) -> None:
        """Save the token for the groups held, each with its epoch, if it is time or `at_once`."""
        every_s = self._every_s if self._changes else self._idle_every_s
        if self._clock.monotonic() - self._saved_at < every_s and not at_once:
            return
        refused = await self._save(held, token)
        if refused:
            self._fenced.inc(refused)
        self._saved_at = self._clock.monotonic()
        self._changes = 0
