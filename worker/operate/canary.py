"""The canary: a synthetic learner whose events go the way of everybody's, and who says how long that takes.

One worker at a time sends events, by lease, and looks for each until `user_progress` has come to it. While nothing is
visible it goes on sending: what waits is measured when it is seen at last, so that the latencies tell of every part
of an outage. It only watches: whatever fails here, the worker it runs in goes on.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from worker.contract.identity import stream_object_id
from worker.contract.reserved import canary_stream
from worker.errors import Retryable, WorkerError
from worker.held_groups import HeldGroups
from worker.kafka.producer import Publisher
from worker.operate.canary_events import CanaryEvent, Outage, Waiting, canary_event, versions_in, visible
from worker.settings import CanarySettings
from worker.storage import reading
from worker.storage.database import Database
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Backoff, Clock, cancel_within, run_until_stopped

log = structlog.get_logger(__name__)

NAME = "canary"
"""Of the role, and of the watcher in whose lease it stands."""

Connect = Callable[[], AbstractAsyncContextManager[Publisher]]
"""Opens a publisher on the topic of learners' events; raises a WorkerError while that cannot be."""

# A producer whose broker is silent is left behind after so long.
_CLOSING_S = 5.0
_SHORTEST_REST_S = 0.02
_A_DAY = timedelta(days=1)


class Canary:
    """`run` returns when it is told to stop; it raises for a defect only.

    `groups` is made for the watcher `canary` with one group. An event may be sent twice: its id tells.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        settings: CanarySettings,
        groups: HeldGroups,
        connect: Connect,
        make_id: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._clock = clock
        self._component = component
        self._metrics = metrics
        self._settings = settings
        self._groups = groups
        self._connect = connect
        self._make_id = make_id
        self._count_retry = retry_counter(metrics)
        self._backoff = Backoff(clock, component.beat)
        self._waiting = Waiting(settings.most_waiting)
        self._unsent: deque[CanaryEvent] = deque(maxlen=settings.most_waiting)
        self._news = asyncio.Event()
        self._holds = False
        self._next_at = 0.0
        self._outage: Outage | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Send and look until `stop`, then give the lease back. What is not seen by then nobody looks for."""
        sending = asyncio.create_task(self._send(), name="canary-sender")
        try:
            while not stop.is_set():
                self._component.beat()
                self._make_due()
                try:
                    await self._look_after()
                    self._backoff.reset()
                    await run_until_stopped(self._clock.sleep(self._rest_s()), stop)
                except (
                    WorkerError
                ) as error:  # also what only an operator can mend: other roles go on meanwhile
                    if isinstance(error, Retryable):
                        self._count_retry(error)
                    self._tell(f"MongoDB: {error}", also_without_lease=not isinstance(error, Retryable))
                    await self._backoff.wait(stop)
        finally:
            await cancel_within(_CLOSING_S, sending)
        await self._leave()

    # ---- steps of a turn ----

    def _make_due(self) -> None:
        """The next event, when its time has come: whether anything answers or not."""
        now = self._clock.monotonic()
        if not self._holds or now < self._next_at:
            return
        self._next_at = max(self._next_at + self._settings.interval_s, now)
        event = canary_event(self._make_id(), self._clock.now(), now)
        self._unsent.append(event)
        self._news.set()
        if (given_up := self._waiting.add(event)) is not None:
            self._metrics.canary_latency_seconds.observe(now - given_up.made_at)

    async def _look_after(self) -> None:
        """1. the lease  2. what is visible by now. Raises a WorkerError for what MongoDB does not do."""
        if self._groups.due:  # 1
            held = bool(await self._groups.share())
            if held and not self._holds:
                await self._begin()
            elif self._holds and not held:
                self._stand_by()
            self._holds = held
            if not held:
                self._outage = None
        if len(self._waiting):  # 2
            await self._look()

    async def _begin(self) -> None:
        """Take over from whoever had the lease before: what was visible then is the last success."""
        last = await self._last_seen()
        self._metrics.canary_last_success_timestamp_seconds.set(last.timestamp())
        self._next_at = self._clock.monotonic()
        log.info("canary_begins", interval_s=self._settings.interval_s, last_success=last.isoformat())

    def _stand_by(self) -> None:
        self._metrics.canary_last_success_timestamp_seconds.forget()
        self._waiting.clear()
        self._unsent.clear()
        self._outage = None

    async def _last_seen(self) -> datetime:
        """When the last event happened that is visible of today or yesterday; now, where none is.

        A worker that is started again and again must not hide that nothing gets through.
        """
        now = self._clock.now()
        ids = [stream_object_id(canary_stream(at)) for at in (now, now - _A_DAY)]
        paths = {"time_tracking.last_activity": 1}
        found = await reading.find(self._database.user_progress, {"_id": {"$in": ids}}, paths)
        times = [(each.get("time_tracking") or {}).get("last_activity") for each in found.documents]
        return max((at for at in times if isinstance(at, datetime) and at <= now), default=now)

    async def _look(self) -> None:
        """Which events are visible. Versions first: a document that has come to one has shown it since."""
        events = self._waiting.events
        wanted = {"_id": {"$in": [each.event_id for each in events]}}
        stored = await reading.find(self._database.course_events, wanted, {"version": 1})
        documents = {"_id": {"$in": list({each.document_id for each in events})}}
        shown = await reading.find(self._database.user_progress, documents, {"version": 1})
        seen = visible(events, versions_in(stored.documents), versions_in(shown.documents))
        if not seen:
            return
        now = self._clock.monotonic()
        ages_s = [now - each.made_at for each in seen]
        for age_s in ages_s:
            self._metrics.canary_latency_seconds.observe(age_s)
        self._metrics.canary_last_success_timestamp_seconds.set(self._clock.now().timestamp())
        self._waiting.remove(seen)
        if self._outage is None:
            return
        self._outage.saw(ages_s)
        if not len(self._waiting):
            outage, self._outage = self._outage, None
            log.info("canary_seen_again", events=outage.events, longest_s=round(outage.longest_s, 1))

    def _rest_s(self) -> float:
        """Until the next event, the next renewal, or the next look at what waits."""
        now, rests = self._clock.monotonic(), [self._groups.renew_in_s]
        if self._holds:
            rests.append(self._next_at - now)
        if (oldest_at := self._waiting.oldest_at) is not None:
            look_s = self._settings.look_per_age * (now - oldest_at)
            rests.append(min(max(look_s, self._settings.look_every_s), self._settings.longest_look_s))
        return max(_SHORTEST_REST_S, min(rests))

    # ---- sending ----

    async def _send(self) -> None:
        """Publish what is made, for ever; after a failure all of it again, over a new connection."""
        while True:
            await self._news.wait()
            try:
                async with self._connect() as publisher:
                    while True:
                        await self._publish(publisher)
                        await self._news.wait()
            except WorkerError as error:
                self._tell(f"Kafka: {error}")
            except Exception as error:  # a defect: the canary is late then, and everything else goes on
                log.exception("canary_sender_raised", error_class=type(error).__name__)
            await self._clock.sleep(self._settings.connect_again_s)

    async def _publish(self, publisher: Publisher) -> None:
        self._news.clear()
        events = tuple(self._unsent)
        try:
            await publisher.publish([each.record for each in events])
        except BaseException:
            self._news.set()
            raise
        for each in events:
            if self._unsent and self._unsent[0] is each:
                self._unsent.popleft()

    def _tell(self, reason: str, *, also_without_lease: bool = False) -> None:
        """Say once why the canary cannot get through."""
        if (self._holds or also_without_lease) and self._outage is None:
            self._outage = Outage(reason)
            log.warning("canary_waits", reason=reason)

    async def _leave(self) -> None:
        """Give the lease back; if the server does not answer in time, it expires by itself."""
        try:
            await self._groups.leave(self._settings.renew_every_s)
        except (WorkerError, TimeoutError) as error:
            log.warning("canary_lease_left_to_expire", reason=str(error))
        self._stand_by()
