"""The notify role: a dispatcher per channel, which looks into the outbox a few times a second.

Any number of workers may run the role; a claim decides who sends. A look is one query of an index; a change stream
would have the server go through everything that is written, whatever it is, for every worker.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import Context
from functools import partial
from typing import Any

import structlog

from worker.errors import Retryable
from worker.gate import Gate
from worker.notify.delivery import Sender
from worker.notify.dispatcher import ChannelDispatcher
from worker.notify.outbox import Outbox
from worker.notify.recipients import RecipientLookup
from worker.notify.waiting import MongoDBWaits
from worker.settings import NotifySettings
from worker.storage.database import Database
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.telemetry.waits import Wait
from worker.timing import Clock, cancel_and_wait

log = structlog.get_logger(__name__)

NAME = "notify"
# How often the role looks whether its dispatchers move.
_TURN_S = 1.0


class Notifier:
    """`run` returns after a drain and raises when something fails that waiting cannot heal.

    The routes name the channel of each kind; kinds they do not name are left to workers that know them. `senders` has
    one for every channel in the routes, and they are closed at the end. `owner` names this run of
    the process in the claims.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        settings: NotifySettings,
        senders: Mapping[str, Sender],
        *,
        owner: str,
        seed: int | None = None,
        tracing: Tracing = UNTRACED,
        gate: Gate | None = None,
    ) -> None:
        self._component = component
        self._metrics = metrics
        self._settings = settings
        routes = {str(kind): str(channel) for kind, channel in settings.routes.items()}
        self._count_retry = retry_counter(metrics)
        self._moved: set[str] = set()
        self._wait = Wait(log, clock, "notify_waits_for_mongodb")
        self._waits = MongoDBWaits(clock, self._on_mongodb_unavailable, self._wait.over)
        self._outbox = Outbox(database, clock, self._waits, settings, owner=owner)
        recipients = RecipientLookup(database, self._waits)
        self._dispatchers = [
            ChannelDispatcher(
                channel,
                [kind for kind, chosen in routes.items() if chosen == channel],
                senders[channel],
                self._outbox,
                recipients,
                settings,
                clock,
                metrics,
                beat=partial(self._moved.add, channel),
                seed=seed,
                tracing=tracing,
                gate=gate,
            )
            for channel in sorted(set(routes.values()))
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, then finish what is under way, for as long as the drain deadline lets us."""
        dispatchers = [self._task(dispatcher.run(stop)) for dispatcher in self._dispatchers]
        stopping = asyncio.create_task(stop.wait())
        try:
            while not any(task.done() for task in (*dispatchers, stopping)):
                self._beat()
                await asyncio.wait(
                    {*dispatchers, stopping}, timeout=_TURN_S, return_when=asyncio.FIRST_COMPLETED
                )
            self._waits.stopping = True
            _raise_failures(dispatchers)
            _, late = await asyncio.wait(dispatchers, timeout=self._settings.drain_deadline_s)
            _raise_failures(dispatchers)
            if late:
                log.warning("notifications_left_to_their_leases", dispatchers=len(late))
        finally:
            await cancel_and_wait(*dispatchers, stopping)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A part of the role whose MongoDB answers are not the role's progress: one part must not speak for all."""
        return asyncio.create_task(work, context=Context())

    def _beat(self) -> None:
        """Progress of the role is progress of every dispatcher."""
        if len(self._moved) == len(self._dispatchers):
            self._moved.clear()
            self._component.beat()

    def _on_mongodb_unavailable(self, error: Retryable) -> None:
        """Called before each wait for MongoDB."""
        self._component.beat()
        self._count_retry(error)
        self._wait.failed(error)


def _raise_failures(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
