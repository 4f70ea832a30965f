"""The notify role: a dispatcher per channel, woken by the outbox's change stream.

The change stream only wakes: a dispatcher looks by itself every few seconds, so that nothing is missed where the
stream was unavailable. Any number of workers may run the role; a claim decides who sends.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import Context
from functools import partial
from typing import Any

import structlog

from worker.errors import Retryable, WorkerError
from worker.gate import Gate
from worker.notify.delivery import Sender
from worker.notify.dispatcher import ChannelDispatcher
from worker.notify.outbox import Outbox
from worker.notify.recipients import RecipientLookup
from worker.notify.waiting import MongoDBWaits
from worker.settings import NotifySettings
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.errors import translated
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
# New rows, and what somebody else wrote to a row: all that we write has to do with its lease.
_NEWS: list[Document] = [
    {"operationType": "insert", "fullDocument.status": "pending"},
    {"operationType": "replace"},
    {"operationType": "update", "updateDescription.updatedFields.lease_until": {"$exists": False}},
]
_ROWS: list[Document] = [{"$match": {"$or": _NEWS}}, {"$project": {"_id": 1, "operationType": 1}}]


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
        self._database = database
        self._clock = clock
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
        listening = self._task(self._listen())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not any(task.done() for task in (*dispatchers, listening, stopping)):
                self._beat()
                await asyncio.wait(
                    {*dispatchers, listening, stopping}, timeout=_TURN_S, return_when=asyncio.FIRST_COMPLETED
                )
            self._waits.stopping = True
            _raise_failures([*dispatchers, listening])
            _, late = await asyncio.wait(dispatchers, timeout=self._settings.drain_deadline_s)
            _raise_failures(dispatchers)
            if late:
                log.warning("notifications_left_to_their_leases", dispatchers=len(late))
        finally:
            await cancel_and_wait(*dispatchers, listening, stopping)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A part of the role whose MongoDB answers are not the role's progress: one part must not speak for all."""
        return asyncio.create_task(work, context=Context())

    def _beat(self) -> None:
        """Progress of the role is progress of every dispatcher."""
        if len(self._moved) == len(self._dispatchers):
            self._moved.clear()
            self._component.beat()

    async def _listen(self) -> None:
        """Wake the dispatchers for every new row; after any failure open the stream again, from now on."""
        while True:
            try:
                with translated():
                    stream = await driver.watch(
                        self._database.notifications, _ROWS, max_await_time_ms=self._settings.await_ms
                    )
                    try:
                        await self._follow(stream)
                    finally:
                        await stream.close()
            except Retryable as error:
                self._count_retry(error)
            except WorkerError as error:
                log.warning("notify_change_stream_lost", reason=str(error))
            await self._clock.sleep(self._settings.reopen_after_s)

    async def _follow(self, stream: driver.ChangeStream) -> None:
        """Until the server closes the stream (a drop or rename). What was written before it was open is due, too."""
        self._wake()
        while stream.alive:
            if (change := await stream.try_next()) is None:
                continue
            if change["operationType"] != "insert":
                self._outbox.look_again()
            self._wake()

    def _wake(self) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.wake.set()

    def _on_mongodb_unavailable(self, error: Retryable) -> None:
        """Called before each wait for MongoDB."""
        self._component.beat()
        self._count_retry(error)
        self._wait.failed(error)


def _raise_failures(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
