"""One channel's way out of the outbox: what stands in it waits for its own receiver and for nobody else's."""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import structlog

from worker.errors import Retryable
from worker.gate import Gate, Rate
from worker.notify.delivery import Delivery, Message, Recipient, Refused, Sender, Unavailable
from worker.notify.message import message_of
from worker.notify.outbox import Outbox
from worker.notify.policy import Breaker, RowState, next_state
from worker.notify.recipients import RecipientLookup
from worker.settings import NotifySettings
from worker.storage.database import Document
from worker.storage.outbox import WAITS_FOR_DOCUMENT
from worker.telemetry.labels import NotificationOutcome
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.timing import Clock, backoff_s, cancel_and_wait

log = structlog.get_logger(__name__)

# Renewals within one lease: one slow answer costs no lease.
_RENEWALS_PER_LEASE = 3
_ROLE = "notify"


@dataclass(slots=True)
class _InFlight:
    """A claimed row on its way. `until` is when its lease may have run out, in monotonic seconds.

    `asks`: it goes alone, to find out whether a receiver that was away is back.
    """

    row: Document
    recipient: Recipient
    until: float
    asks: bool


class ChannelDispatcher:
    """Claims, sends and marks the rows of some kinds by one sender, and looks for new ones a few times a second.

    Rows of kinds that the gate holds are not claimed: they stay pending.
    """

    def __init__(
        self,
        channel: str,
        kinds: Collection[str],
        sender: Sender,
        outbox: Outbox,
        recipients: RecipientLookup,
        settings: NotifySettings,
        clock: Clock,
        metrics: Metrics,
        *,
        beat: Callable[[], None],
        seed: int | None = None,
        tracing: Tracing = UNTRACED,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate or Gate()
        self._rate = Rate(clock, self._gate.rate("notify_per_s"))
        self.channel = channel
        self._log = log.bind(channel=channel)
        self._kinds = frozenset(kinds)
        self._sender = sender
        self._outbox = outbox
        self._recipients = recipients
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._duration = metrics.notification_send_duration_seconds.labels(channel)
        self._beat = beat
        self._tracing = tracing
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._breaker = Breaker()
        self._in_flight: dict[asyncio.Task[None], _InFlight] = {}
        self._renew_at = 0.0
        self._look_at = self._take_over_at = 0.0
        self._places = asyncio.Semaphore(settings.concurrency)
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; then finish what is under way. Cancelled, it leaves those rows to their leases.

        Raises when something fails that waiting cannot heal.
        """
        self._stop = stop
        try:
            # Raised only when told to stop: then nothing but marks waits for MongoDB.
            with suppress(Retryable):
                await self._work(stop)
            await self._drain()
        finally:
            await cancel_and_wait(*self._in_flight)
            await self._sender.close()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._beat()
            self._collect_finished()
            await self._renew()
            if not await self._take():
                await self._pause(stop)

    # ---- claiming ----

    async def _take(self) -> bool:
        """Claim what fits and let it fly; False if there was nothing or no room, or if it was looked just before."""
        room, now = self._room(), self._clock.monotonic()
        if not room or now < self._look_at:
            return False
        asks, take_over = self._breaker.suspicious, now >= self._take_over_at
        if take_over:
            self._take_over_at = now + self._settings.poll_s
        until = now + self._settings.lease_s
        rows = await self._outbox.claim(self._open_kinds(), room, expired=take_over)
        if len(rows) < room:  # others may come meanwhile: a few claims a second, not one for each row
            self._look_at = now + self._settings.look_every_s
        self._rate.spend(len(rows))
        recipients = await self._recipients.of(rows, self.channel)
        for row in rows:
            claimed = _InFlight(row, recipients[row["_id"]], until, asks)
            self._in_flight[asyncio.create_task(self._deliver(claimed))] = claimed
        return bool(rows)

    def _open_kinds(self) -> frozenset[str]:
        """The kinds that are sent at this moment: none while the role is paused."""
        if self._gate.pauses(_ROLE):
            return frozenset()
        return self._kinds - self._gate.switches.kinds

    def _room(self) -> int:
        """How many rows to claim now: several at once or none, and one alone to ask a receiver that was away."""
        if self._clock.monotonic() < self._breaker.closed_until or not self._open_kinds():
            return 0
        if self._breaker.suspicious:
            return 0 if self._in_flight else self._rate.room(1)
        room = self._settings.in_hand - len(self._in_flight)
        return self._rate.room(room) if 2 * room >= self._settings.in_hand else 0

    async def _renew(self) -> None:
        """Extend the leases of what is under way, some times within a lease."""
        now = self._clock.monotonic()
        if not self._in_flight or now < self._renew_at:
            return
        in_flight = list(self._in_flight.values())
        await self._outbox.renew([claimed.row for claimed in in_flight])
        for claimed in in_flight:
            claimed.until = now + self._settings.lease_s
        self._renew_at = now + self._settings.lease_s / _RENEWALS_PER_LEASE

    # ---- one row ----

    async def _deliver(self, claimed: _InFlight) -> None:
        """One claimed row; its key makes a repeat after a crash harmless for a receiver that looks at it.

        1. ask the learner's preferences, if they can be read  2. send, unless the lease may be another's by now
        3. decide  4. mark
        What waits for a place when the role is told to stop, or paused, or the receiver is away, goes back.
        """
        row = claimed.row
        if (reason := claimed.recipient.unreadable) is not None:  # 1
            await self._outbox.quarantine("Unreadable", {row["_id"]: reason})
            state = self._waits(row, reason)
        elif not claimed.recipient.wants:
            state = RowState("suppressed")
        else:
            async with self._places:
                if self._clock.monotonic() >= claimed.until:
                    self._log.warning("notification_lease_lost_before_sending", key=row["_id"])
                    return
                paused = row["kind"] not in self._open_kinds()
                if self._stop.is_set() or paused or (self._breaker.suspicious and not claimed.asks):
                    state = RowState("pending", row.get("last_error"))
                else:
                    delivery = await self._send(row, claimed.recipient)  # 2
                    state = self._decide(row, delivery)  # 3
        written = await self._outbox.mark(row, state, self.channel)  # 4
        self._count(row, state, written)
        if state.status == "failed":
            await self._tell(row, state)

    async def _send(self, row: Document, recipient: Recipient) -> Delivery:
        """Refused is what counts against the row: what is wrong with the channel, a defect included, does not."""
        try:
            message = message_of(row)
        except (TypeError, ValueError) as error:
            return Refused(f"the row cannot be sent: {error}")
        began = self._clock.monotonic()
        try:
            with await self._span(row, message):
                return await self._sender.send(message, recipient)
        except Exception as error:  # the sender's outermost frame: rows that meet it pause the channel
            trace = await self._outbox.trace_of(row)
            trace_id = None if trace is None else trace.trace_id
            self._log.exception("notification_cannot_be_sent", key=message.key, trace_id=trace_id)
            return Unavailable(f"a defect ({type(error).__name__})")
        finally:
            self._duration.observe(self._clock.monotonic() - began)

    async def _span(self, row: Document, message: Message) -> AbstractContextManager[None]:
        """A span of one attempt, linked to the trace of the event that reached the milestone."""
        trace = await self._outbox.trace_of(row) if self._tracing.on else None
        attributes = {"sevenp.channel": self.channel, "sevenp.kind": message.kind}
        traces = () if trace is None else (trace,)
        return self._tracing.span("send notification", attributes, kind="producer", links=lambda: traces)

    def _waits(self, row: Document, reason: str) -> RowState:
        """Due again later, without an attempt that counts against it: nobody was asked to take it."""
        settings = self._settings
        jitter = self._random.random()
        wait_s = backoff_s(row["attempts"], settings.shortest_wait_s, settings.longest_wait_refused_s, jitter)
        return RowState("pending", f"{WAITS_FOR_DOCUMENT}{reason}", wait_s)

    def _decide(self, row: Document, delivery: Delivery) -> RowState:
        settings = self._settings
        now = self._clock.monotonic()
        before = self._breaker
        self._breaker = before.after(row["_id"], delivery, settings, now, self._random.random())
        if self._breaker.suspicious != before.suspicious:
            reason = delivery.reason if isinstance(delivery, Unavailable) else None
            unavailable = self._breaker.suspicious
            self._log.warning("notification_channel_changed", unavailable=unavailable, reason=reason)
        return next_state(delivery, row, settings, self._random.random())

    def _count(self, row: Document, state: RowState, written: bool) -> None:
        outcome = "deferred" if state.status == "pending" else state.status
        self._metrics.notifications_total.labels(row["kind"], NotificationOutcome(outcome)).inc()
        if not written:
            self._metrics.fenced_writes_total.labels("notify").inc()

    async def _tell(self, row: Document, state: RowState) -> None:
        trace = await self._outbox.trace_of(row)
        trace_id = None if trace is None else trace.trace_id
        self._log.error("notification_failed", key=row["_id"], reason=state.error, trace_id=trace_id)

    # ---- waiting ----

    def _collect_finished(self) -> None:
        """Forget what is done; raises what a task raised."""
        for task in [task for task in self._in_flight if task.done()]:
            del self._in_flight[task]
            task.result()

    async def _drain(self) -> None:
        while self._in_flight:
            self._beat()
            with suppress(Retryable):
                await self._renew()
            await asyncio.wait(
                self._in_flight, timeout=self._settings.poll_s, return_when=asyncio.FIRST_COMPLETED
            )
            self._collect_finished()

    async def _pause(self, stop: asyncio.Event) -> None:
        """Until it is time to look again, the receiver may be asked again, something is done, or `stop`."""
        closed_s = self._breaker.closed_until - self._clock.monotonic()
        seconds = self._settings.poll_s
        if closed_s > 0:
            seconds = min(seconds, closed_s)
        elif (rest_s := self._rate.free_in_s()) > 0:
            seconds = min(seconds, rest_s)
        elif self._room():
            seconds = min(seconds, max(0.0, self._look_at - self._clock.monotonic()))
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        try:
            await asyncio.wait({*waits, *self._in_flight}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
