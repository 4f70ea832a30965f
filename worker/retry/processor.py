"""The retry role: takes due items in turns, has them tried again, and writes what came of it.

One worker at a time does it, by lease: the cap on attempts is the whole platform's. The lease only saves work and
keeps the cap; that an item is tried by one worker at a time is decided by its own claim.
"""

import asyncio
import random
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from worker.contract.trace_context import TraceContext
from worker.errors import Fatal, Retryable, WorkerError
from worker.gate import LOOK_AGAIN_S, Gate, Rate
from worker.held_groups import HeldGroups
from worker.retry.depths import DepthGauges, measure
from worker.retry.policy import TURNS_PER_SECOND, RateCap, turn_size, wait_s
from worker.retry.queue import Outcome, Queue
from worker.settings import RetrySettings
from worker.storage.claims import Claim
from worker.storage.database import Database
from worker.storage.event_traces import traces_of
from worker.storage.retrying import retrying
from worker.storage.work_items import (
    INTERRUPTED,
    Failed,
    Handler,
    Item,
    ItemId,
    Postponed,
    Verdict,
    types_of,
)
from worker.telemetry.health import Component
from worker.telemetry.labels import ErrorClass, RetryOutcome
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.telemetry.waits import Wait
from worker.timing import Backoff, Clock, Deadline

log = structlog.get_logger(__name__)

NAME = "retry"

_GROUP = 0
_CLASSES = {each.value: each for each in ErrorClass}


class RetryProcessor:
    """`run` returns after a drain and raises when something fails that waiting cannot heal.

    `handlers` do the work of their event types; items of other types are somebody else's. `groups` is made for
    the watcher `retry` with one group. While the gate pauses the role it keeps the lease, and tells how much waits.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        settings: RetrySettings,
        handlers: Mapping[str, Handler],
        groups: HeldGroups,
        *,
        seed: int | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate or Gate()
        self._rate = Rate(clock, self._gate.rate("retry_per_s"))
        self._database = database
        self._clock = clock
        self._component = component
        self._metrics = metrics
        self._settings = settings
        self._handlers = handlers
        self._groups = groups
        self._queue = Queue(database, handlers, clock, settings, owner=groups.owner)
        self._cap = RateCap(settings.rate_per_s)
        self._last_turn_s = 0.0
        self._gauges = DepthGauges(metrics, clock)
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._count_retry = retry_counter(metrics)
        self._held_until: float | None = None
        self._epoch: int | None = None
        self._measure_at = self._take_back_at = 0.0
        self._backoff = Backoff(clock, component.beat, seed)
        self._wait = Wait(log, clock, "retry_waits_for_mongodb")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, write the outcomes of what is in hand, give the lease back."""
        while not stop.is_set():
            self._component.beat()
            try:
                wait_s = await self._turn()
                self._backoff.reset()
                self._wait.over()
                await self._backoff.pause(stop, wait_s)
            except Retryable as error:
                self._count_retry(error)
                self._wait.failed(error)
                self._holds_still()
                await self._backoff.wait(stop)
        await self._leave()

    async def _turn(self) -> float:
        """One turn; returns the seconds until the next.

        1. hold the lease  2. look after what time brings  3. claim what the cap allows  4. attempt
        5. write what became of it
        """
        began = self._clock.monotonic()
        if not await self._holding():  # 1
            return self._settings.renew_every_s
        await self._look_after()  # 2
        if self._gate.pauses(self.name):
            return LOOK_AGAIN_S
        size = turn_size(self._settings.rate_per_s, self._last_turn_s)
        room = self._rate.room(min(size, self._cap.room(self._clock.monotonic())))
        if room <= 0:
            free_in_s = max(self._cap.free_in_s(self._clock.monotonic()), self._rate.free_in_s())
            return min(free_in_s, LOOK_AGAIN_S)
        self._queue.leave_out(types_of(self._gate.switches.projections))
        claim = await self._queue.claim(room)  # 3
        if not claim.taken:
            return await self._idle_s()
        try:
            verdicts = await self._attempt(claim.taken)  # 4
            await self._complete(claim, verdicts)  # 5
        finally:
            self._cap.spend(len(claim.taken), self._clock.monotonic())
            self._rate.spend(len(claim.taken))
        self._last_turn_s = self._clock.monotonic() - began
        return max(0.0, 1 / TURNS_PER_SECOND - self._last_turn_s)

    # ---- steps of a turn ----

    async def _holding(self) -> bool:
        """True while this worker is the one. A new holder waits a second: its predecessor's attempts count.

        A new epoch tells, even where this worker never saw that it had lost the lease in between.
        """
        now = self._clock.monotonic()
        if self._groups.due:
            epoch = (await self._groups.share()).get(_GROUP)
            if epoch is not None and epoch != self._epoch:
                self._cap.fill(self._clock.monotonic())
                reopened = await self._queue.reopen()
                log.info("retry_began", reopened=reopened, code_version=self._settings.code_version)
            self._epoch = epoch
            self._held_until = None if epoch is None else now + self._settings.lease_s
        return self._holds_still()

    def _holds_still(self) -> bool:
        """Whether the lease is this worker's by its own clock; without it, another one may show the depths."""
        holds = self._held_until is not None and self._clock.monotonic() < self._held_until
        if not holds:
            self._gauges.hide()
        return holds

    async def _look_after(self) -> None:
        now = self._clock.monotonic()
        if now >= self._take_back_at:
            self._take_back_at = now + self._settings.take_back_every_s
            if abandoned := await self._queue.take_back():
                log.warning("retry_abandoned", items=abandoned)
        if now >= self._measure_at:
            self._measure_at = now + self._settings.measure_every_s
            self._gauges.show(await measure(self._database, self._handlers))

    async def _attempt(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        verdicts: dict[ItemId, Verdict] = {}
        for event_type in sorted({item.event_type for item in items}):
            of_type = [item for item in items if item.event_type == event_type]
            verdicts |= await self._handle(event_type, of_type)
            self._component.beat()
        return verdicts

    async def _handle(self, event_type: str, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """One handler's verdicts. If it raises for several items, each is tried alone; this was no attempt at any."""
        try:
            return dict(await self._handlers[event_type](items))
        except Retryable as error:
            self._count_retry(error)
            return {item.id: Postponed(str(error)) for item in items}
        except Fatal:
            raise
        except Exception as error:  # whatever a handler raises concerns these items only
            log.exception("retry_handler_raised", event_type=event_type, items=len(items))
            name = type(error).__name__ if len(items) == 1 else INTERRUPTED
            return {item.id: Failed(name, f"the handler raised {type(error).__name__}") for item in items}

    async def _complete(self, claim: Claim[Item], verdicts: Mapping[ItemId, Verdict]) -> None:
        """Write the outcomes, for as long as the items are ours; after that they are taken back as abandoned."""
        outcomes = [self._outcome(item, verdicts.get(item.id)) for item in claim.taken]
        deadline = Deadline.after(self._clock, self._settings.item_lease_s)
        writing = retrying(
            lambda: self._queue.complete(claim.token, outcomes),
            clock=self._clock,
            on_retry=self._count_retry,
        )
        try:
            await deadline.bound(writing)
        except TimeoutError:
            log.warning("retry_outcomes_not_written", items=len(outcomes))
            return
        failed = [outcome for outcome in outcomes if isinstance(outcome.verdict, Failed)]
        traces = await traces_of(self._database, map(_event_of, failed))
        for outcome in outcomes:
            self._tell(outcome, traces.get(_event_of(outcome)))

    def _outcome(self, item: Item, verdict: Verdict | None) -> Outcome:
        if verdict is None:
            return Outcome(item)
        failed = isinstance(verdict, Failed) and verdict.error_class != INTERRUPTED
        last = failed and item.attempt >= self._settings.max_attempts
        pause_s = 0.0 if last else wait_s(item.attempt, self._settings, self._random)
        return Outcome(item, verdict, pause_s, last)

    # ---- waiting and telling ----

    def _tell(self, outcome: Outcome, trace: TraceContext | None) -> None:
        count = self._metrics.retry_attempts_total.labels
        match outcome.verdict:
            case None:
                count(RetryOutcome.COMPLETED, ErrorClass.NONE).inc()
            case Postponed():
                count(RetryOutcome.POSTPONED, ErrorClass.UNAVAILABLE).inc()
            case Failed(name, message, version, _):
                ending = RetryOutcome.EXHAUSTED if outcome.last else RetryOutcome.FAILED
                count(ending, _CLASSES.get(name, ErrorClass.OTHER)).inc()
                told = log.bind(
                    item=str(outcome.item.id),
                    attempt=outcome.item.attempt,
                    version=version,
                    error_class=name,
                    reason=message,
                    next_in_s=round(outcome.wait_s, 1),
                    trace_id=None if trace is None else trace.trace_id,
                )
                if outcome.last:  # it needs somebody: an error, with the command to look with
                    look = f"sevenp-worker queue show {shlex.quote(str(outcome.item.id))}"
                    told.error("retry_exhausted", look=look)
                else:
                    told.warning("retry_failed")

    async def _idle_s(self) -> float:
        """Until the next item is due, but not longer than somebody who adds one wants to wait."""
        due_in_s = await self._queue.due_in_s()
        poll_s = self._settings.poll_every_s
        # Something is due and was not claimed: another one was faster, or the next claim begins a new round.
        return poll_s if due_in_s is None else min(max(due_in_s, 1 / TURNS_PER_SECOND), poll_s)

    async def _leave(self) -> None:
        """Give the lease back; if the server does not answer in time, it expires by itself."""
        try:
            await self._groups.leave(self._settings.renew_every_s)
        except (WorkerError, TimeoutError) as error:
            log.warning("retry_lease_left_to_expire", reason=str(error))
        self._held_until = self._epoch = None
        self._gauges.hide()


def _event_of(outcome: Outcome) -> Any:
    """The id of the event that an item is about, as whoever failed at it noted it; None where nobody did."""
    failed = outcome.verdict if isinstance(outcome.verdict, Failed) else None
    data = outcome.item.data if failed is None or failed.data is None else failed.data
    return data.get("event_id")
