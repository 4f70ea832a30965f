"""A worker's share of one watcher's groups: renewed when it is due, shown as metrics, given back at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from worker.storage.leases import GroupLeases, group_name
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import Clock


class HeldGroups:
    """`held` are groups with the epochs of their leases. A lease saves work; nothing here decides what is right."""

    def __init__(
        self, leases: GroupLeases, clock: Clock, component: Component, metrics: Metrics, renew_every_s: float
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._component = component
        self._metrics = metrics
        self._renew_every_s = renew_every_s
        self._renew_at = 0.0
        self._shown: Mapping[int, int] = {}
        metrics.prepare_leases(self._name(group) for group in range(leases.groups))

    @property
    def owner(self) -> str:
        """The name of this run of the process in the leases."""
        return self._leases.owner

    @property
    def due(self) -> bool:
        """Whether it is time to renew."""
        return self._clock.monotonic() >= self._renew_at

    @property
    def renew_in_s(self) -> float:
        """Seconds until it is time to renew; 0 where it is."""
        return max(0.0, self._renew_at - self._clock.monotonic())

    @property
    def held(self) -> Mapping[int, int]:
        return self._leases.held

    async def share(self) -> Mapping[int, int]:
        """Say that this worker lives, renew, take or give up groups; what is held now."""
        held = await self._leases.balance()
        self._renew_at = self._clock.monotonic() + self._renew_every_s
        self._show(held)
        return held

    async def keep_alive(self) -> None:
        """Between parts of the work: beat, and renew when it is due."""
        self._component.beat()
        if self.due:
            await self.share()

    async def barrier(self) -> None:
        """Return once everything that was stored before has a majority."""
        await self._leases.announce()

    async def leave(self, limit_s: float, *, first: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do what comes first, then give everything back. Raises TimeoutError after `limit_s`: leases expire."""
        try:
            async with asyncio.timeout(limit_s):
                if first is not None:
                    await first()
                await self._leases.leave()
        finally:
            self._show({})

    def _show(self, held: Mapping[int, int]) -> None:
        for group in self._shown.keys() | held.keys():
            self._metrics.lease_held.labels(self._name(group)).set(group in held)
            if (group in held) != (group in self._shown):
                self._metrics.lease_transitions_total.labels(self._leases.watcher).inc()
        self._shown = held

    def _name(self, group: int) -> str:
        return group_name(self._leases.watcher, group)
