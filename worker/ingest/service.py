"""The ingest role: it owns partitions, gives their batches to the pipeline, commits last, and drains when told to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from uuid import UUID

import structlog

from worker.backlog import Backlog
from worker.errors import Fenced, Retryable
from worker.gate import Gate, Rate
from worker.ingest.assignment import Assignment, OnGaps
from worker.ingest.event_store import EventStore
from worker.ingest.in_flight import BatchesInFlight
from worker.ingest.lag import Owned
from worker.ingest.lag_gauges import LagGauges
from worker.ingest.options import IngestOptions
from worker.ingest.paused_partitions import PausedPartitions
from worker.ingest.pipeline import BATCHES_IN_FLIGHT, BatchSource, Pipeline
from worker.ingest.time_series import BatchTooOld, due_to_burn
from worker.ingest.versions import StreamVersions
from worker.kafka.consumer import ConsumerLostError, EventConsumer
from worker.kafka.corrupt_batches import CorruptBatch
from worker.kafka.record import Batch, Partition
from worker.storage.database import Database
from worker.storage.retrying import retrying
from worker.telemetry.health import Component
from worker.telemetry.labels import DrainCause, Outcome, RebalanceKind
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.telemetry.tracing import UNTRACED, Tracing
from worker.timing import Clock, Deadline, Pace, cancel_and_wait, run_until_stopped

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Far below the time after which a member that does not poll is taken for dead, far above a usual batch: pausing
# throws away what has been fetched already.
_LONG_BATCH_S = 5.0
_ABSENT_REMEDY = (
    "`sevenp-worker topic apply` makes it, and it is read from then on; its setting with the value none says that "
    "nothing comes in there"
)
# Smaller batches are finished before the next one is read, which is larger then: each costs a dozen commands, and at
# 1,000 events a second they were two thirds of the worker's CPU.
_OVERLAP_RECORDS = 500
_PACE_S = 0.05
# How long to wait for one more batch while the one before is finished.
_NEXT_BATCH_WAIT_S = 0.1
# A failed fetch is repeated at once and answered at once: without a pause this would be a busy loop.
_FAILED_FETCH_PAUSE_S = 0.5
# A consumer that broke is replaced: not more often than this.
_NEW_CONSUMER_PAUSE_S = 2.0


class Ingest:
    """`run` returns after a drain and raises when something fails that waiting cannot heal."""

    name = "ingest"

    def __init__(
        self,
        database: Database,
        options: IngestOptions,
        clock: Clock,
        metrics: Metrics,
        component: Component,
        new_session: Callable[[], UUID],
        tracing: Tracing = UNTRACED,
        gate: Gate | None = None,
        on_gaps: OnGaps | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        self._backlog = backlog or Backlog(clock)
        self._gate = gate or Gate()
        self._on_gaps = on_gaps
        self._database = database
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._new_session = new_session
        self._count_retry = retry_counter(metrics)
        self._versions = StreamVersions(database)
        events = EventStore(database, self._versions)
        self._pipeline = Pipeline(
            database, events, options.routes, options.settings, clock, metrics, component, tracing
        )
        self._in_flight = BatchesInFlight(metrics, self.name, BATCHES_IN_FLIGHT * options.consumer.max_bytes)
        self._seen_absent: set[str] = set()
        self._start_over()
        every_s = options.settings.lag_every_s
        self._lag = LagGauges(self._owned, options.consumer, every_s, clock, metrics)
        self._work: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._pace = Pace(clock, _PACE_S)
        self._rate = Rate(clock, self._gate.rate("ingest_per_s"))

    def _start_over(self) -> None:
        """Make a new member of the group, which owns nothing yet."""
        options = self._options
        self._consumer = EventConsumer(options.consumer, self._clock, self._drain_for_revoke)
        clock, metrics = self._clock, self._metrics
        given = self._database, self._consumer, options, clock, metrics, self._new_session
        self._assignment = Assignment(
            *given, self._pipeline.waits, self._gate, self._on_gaps, self._seen_absent
        )
        self._paused = PausedPartitions(self._consumer, options, self._gate, clock, metrics)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`, and show the lag all the time, whatever the consuming waits for."""
        self._stopping = stop
        lag = asyncio.create_task(self._lag.run(), name="lag")
        try:
            await self._consume_again_and_again(stop)
        finally:
            await cancel_and_wait(lag)

    def _owned(self) -> dict[Partition, Owned] | None:
        """What is known of each partition that this worker owns; None while the group is being joined."""
        consumer, assignment = self._consumer, self._assignment
        if consumer.rejoining:
            return None
        paused = consumer.paused
        return {
            each: Owned(
                durable=assignment.durable.get(each),
                end=consumer.high_watermark(each),
                first_in_hand=self._in_flight.first_time(each),
                last_durable=assignment.newest.get(each),
                is_paused=each in paused,
            )
            for each in consumer.assigned
        }

    async def _consume_again_and_again(self, stop: asyncio.Event) -> None:
        """A worker that finds itself fenced starts again as a new member of the group."""
        while not stop.is_set():
            self._start_over()
            try:
                if await run_until_stopped(self._with_retry(self._consumer.start), stop):
                    self._tell_absent()
                    await self._consume(stop)
            except BatchTooOld as old:
                log.warning("ingest_batch_too_old", reason=str(old))
            except Fenced as fenced:
                self._metrics.fenced_writes_total.labels(self.name).inc()
                log.warning("ingest_fenced", reason=str(fenced))
            except ConsumerLostError as lost:
                log.warning("ingest_consumer_lost", reason=str(lost))
                await run_until_stopped(self._clock.sleep(_NEW_CONSUMER_PAUSE_S), stop)
            finally:
                self._backlog.note(0)
                await self._consumer.stop()
                self._assignment.forget()

    async def _consume(self, stop: asyncio.Event) -> None:
        """Turn by turn: make a new assignment ready, or ingest a batch; then check the positions if that is due.

        Over when a topic has been made that was not there: a new member of the group reads it, too.
        """
        while not stop.is_set() and not self._has_appeared():
            # A poll that never returns is no progress.
            if self._consumer.rejoining or not self._consumer.polling:
                self._component.beat()
            if not self._assignment.is_ready:
                self._versions.clear()
                self._paused.forget()
                await run_until_stopped(self._with_retry(self._assignment.on_assigned), stop)
                continue
            await self._pace.keep(stop)
            if not await self._rate.ready(stop):
                continue
            batch = await self._next()
            if isinstance(batch, CorruptBatch):
                await self._assignment.skip_gap(batch)
            elif batch is not None:
                # A batch that is dropped or given up leaves the consumer's position past records that are not
                # durable: no position may be committed before the next assignment has set it back.
                if batch.generation != self._consumer.generation:
                    continue
                topic, work = batch.records[0].source.topic, self._begin(batch)
                del batch
                if not await self._wait_for(work, topic, stop):
                    continue
                self._versions.trim()
            if self._assignment.check_is_due:
                await self._assignment.check_positions()
                await self._burn_again()

    def _tell_absent(self) -> None:
        """Say what is not read, and why; all other topics are."""
        self._seen_absent.update(self._consumer.absent)
        for topic, reason in self._consumer.absent.items():
            log.warning("topic_absent", topic=topic, reason=reason, remedy=_ABSENT_REMEDY)

    def _has_appeared(self) -> bool:
        """Whether a topic is there by now that was not when the consumer started."""
        appeared = sorted(self._lag.there & self._consumer.absent.keys())
        if appeared:
            log.info("topics_appeared", topics=appeared)
        return bool(appeared)

    async def _burn_again(self) -> None:
        """Burn the former owners of one partition again: of 64 partitions each has its turn within 11 minutes."""
        due = due_to_burn(self._assignment.writers.values(), self._clock)
        if due is None:
            return
        deadline_s = self._options.settings.answer_deadline_s
        try:
            await due.burn_again(self._database, self._clock, deadline_s=deadline_s)
        except Retryable as error:
            log.warning("burn_not_repeated", reason=str(error))

    async def _next(self) -> Batch | CorruptBatch | None:
        if self._assignment.is_ready:  # before that nothing may be resumed
            self._paused.before_poll()
        most = max(1, self._rate.room(self._options.consumer.max_records))
        self._note_backlog()
        try:
            batch = await self._consumer.poll(wait_s=1.0, most=most)
        except Retryable as error:
            log.warning("ingest_position_invalid", reason=str(error))
            await self._clock.sleep(_FAILED_FETCH_PAUSE_S)
            if not self._assignment.suspects_restart:
                await self._assignment.check_positions()
            return None
        if batch is None:
            self._backlog.note(0)  # whatever the log still holds, nobody gives it out
            self._paused.nothing_read()
            return None
        self._note_backlog()
        if isinstance(batch, Batch):
            self._rate.spend(min(most, len(batch.records)))  # of a poll that began before, it may be more
        return batch

    def _begin(self, batch: Batch) -> asyncio.Task[None]:
        """Run the pipeline, which alone holds the batch from here on."""
        self._in_flight.add(batch)
        source = BatchSource(self._next_batch, self._assignment.commit, self._on_durable)
        self._work = asyncio.create_task(self._pipeline.run(batch, self._assignment.writers, source))
        return self._work

    async def _wait_for(self, work: asyncio.Task[None], topic: str, stop: asyncio.Event) -> bool:
        """Stay a member of the group meanwhile, and mind the drain deadline once told to stop.

        False for work that was given up: nothing is lost, its offsets were not committed. Raises what it raised.
        """
        generation = self._consumer.generation
        drain: Deadline | None = None
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=1.0)
                if not work.done() and self._clock.monotonic() - self._in_flight.polled_at > _LONG_BATCH_S:
                    await self._stay_member(topic)
                if stop.is_set() and drain is None:
                    drain = Deadline.after(self._clock, self._options.settings.drain_deadline_s)
                if drain is not None and drain.passed:
                    work.cancel()
            if work.cancelled():
                log.warning("batch_given_up", reason="drain deadline")
                return False
            work.result()
            return True
        finally:
            if not work.done():  # we leave by an error of our own: nothing may go on behind our back
                await cancel_and_wait(work)
            self._work = None
            self._in_flight.clear()
            if self._consumer.generation == generation:
                self._consumer.resume()
                self._paused.show()

    async def _next_batch(self) -> Batch | None:
        """Called by the pipeline: the next batch, None if batches are small or the loop has something else to do."""
        self._versions.trim()
        if self._in_flight.records < _OVERLAP_RECORDS:
            return None
        busy = self._paused.any or self._rate.limited or self._assignment.check_is_due
        if self._stopping.is_set() or busy or not self._assignment.is_ready:
            return None
        batch = await self._consumer.next_batch(_NEXT_BATCH_WAIT_S)
        if batch is not None:
            self._in_flight.add(batch)
        return batch

    def _on_durable(
        self, batch: Batch, dead_letters: Mapping[Partition, int], outcomes: Mapping[Outcome, int]
    ) -> None:
        """Called by the pipeline when a batch is durable."""
        self._in_flight.complete(batch)
        counts = {outcome.value: number for outcome, number in outcomes.items() if number}
        log.debug("batch_durable", records=len(batch.records), outcomes=counts)
        self._assignment.note_newest(batch)
        self._note_backlog()
        if self._consumer.generation == batch.generation:
            self._paused.on_durable(batch, dead_letters)

    def _note_backlog(self) -> None:
        """Tell what waits, but for partitions that are paused: and nothing where an operator wants it slow."""
        owned = {} if self._rate.limited else self._owned() or {}
        waiting = [
            max(0, each.end - each.durable)
            for each in owned.values()
            if not each.is_paused and each.end is not None and each.durable is not None
        ]
        self._backlog.note(sum(waiting))

    async def _stay_member(self, topic: str) -> None:
        """Pause reading while a batch takes long, and poll on, so that the group keeps this member."""
        try:
            await self._consumer.keep_polling()
        except Retryable as error:
            log.debug("poll_failed_while_paused", reason=str(error))
        self._metrics.kafka_paused_partitions.labels(topic).set(self._consumer.paused_count)

    async def _drain_for_revoke(self) -> None:
        """Finish and commit the batches in flight before the partitions go to somebody else, within the deadline."""
        self._metrics.kafka_rebalances_total.labels(RebalanceKind.REVOKED.value).inc()
        work = self._work
        if work is None:
            return
        began = self._clock.monotonic()
        await asyncio.wait({work}, timeout=self._options.settings.drain_deadline_s)
        if not work.done():
            await cancel_and_wait(work)
        took = self._clock.monotonic() - began
        self._metrics.drain_duration_seconds.labels(DrainCause.REVOKE.value).observe(took)

    async def _with_retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        result = await retrying(operation, clock=self._clock, on_retry=self._retried)
        self._pipeline.waits.over()
        return result

    def _retried(self, error: Retryable) -> None:
        self._count_retry(error)
        self._component.beat()
        self._pipeline.waits.failed(error)
