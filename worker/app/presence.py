"""The role that says of its process that it lives, for people who ask who works here."""

import asyncio
import os
import platform
import socket
from collections.abc import Iterable, Set

import structlog

from worker.errors import Retryable, WorkerError
from worker.settings.role import RoleSettings
from worker.storage.database import Database
from worker.storage.workers import SEEN_EVERY_S, Running, say_alive, say_gone
from worker.telemetry.health import Component
from worker.timing import Clock, run_until_stopped

log = structlog.get_logger(__name__)

# One write. A primary is elected within 10 s; the next attempt is not far.
_LIMIT_S = 8.0


class Presence:
    """Writes the worker's document in `workers` every few seconds, and takes it back at the end.

    Nothing depends on it: whatever MongoDB says, the other roles are told by their own commands.
    """

    name = "presence"

    def __init__(self, database: Database, running: Running, clock: Clock, component: Component) -> None:
        self._database = database
        self._running = running
        self._clock = clock
        self._component = component
        self._told = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, which also ends a write under way."""
        while not stop.is_set() and await run_until_stopped(self._turn(), stop):
            self._component.beat()
        await self._leave()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(_LIMIT_S):
                await say_alive(self._database, self._running)
            self._told = False
        except (WorkerError, TimeoutError) as error:
            self._tell(error)
        self._component.beat()
        await self._clock.sleep(SEEN_EVERY_S)

    async def _leave(self) -> None:
        """So that nobody takes an orderly end for a death. Where it fails, silence says as much."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                await say_gone(self._database, self._running)
        except (WorkerError, TimeoutError) as error:
            log.info("presence_left_to_expire", reason=str(error) or "no answer in time")

    def _tell(self, error: Exception) -> None:
        """Once per outage. That MongoDB is away, everybody says; that it refuses this write, nobody else does."""
        if not self._told and not isinstance(error, Retryable | TimeoutError):
            log.warning("presence_not_written", reason=str(error))
        self._told = True


def running_as(
    settings: RoleSettings, owner: str, roles: Iterable[str], owned: Set[str] = frozenset()
) -> Running:
    """What this process is; `owner` names this run of it, and begins like the owners of its leases.

    `owned` are the shared collections whose documents it makes.
    """
    return Running(
        id=owner,
        host=socket.gethostname(),
        pid=os.getpid(),
        roles=tuple(map(str, roles)),
        version=settings.release,
        revision=settings.revision,
        python=platform.python_version(),
        owned=tuple(sorted(owned)),
    )
