"""The ingest role: owns partitions, hands their batches to the pipeline, acknowledges last, drains when told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

import structlog

from worker.errors import Fenced, Retryable
from worker.ingest.assignment import Assignment
from worker.ingest.breaker import Breaker
from worker.ingest.event_store import EventStore
from worker.ingest.options import IngestOptions
from worker.ingest.pipeline import BATCHES_IN_HAND, Pipeline
from worker.ingest.routes import routes
from worker.ingest.time_series import BatchTooOld, due_to_burn
from worker.ingest.versions import StreamVersions
from worker.kafka.consumer import ConsumerLostError, EventConsumer
from worker.kafka.corrupt_batches import CorruptBatch
from worker.kafka.record import Batch, Partition
from worker.storage.database import Database
from worker.storage.retrying import retrying
from worker.telemetry.health import Component
from worker.telemetry.metrics import DrainCause, Metrics, RebalanceKind
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock, Deadline, Pace, cancel_and_wait, run_until_stopped

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Far below the time after which a member that does not poll is taken for dead, far above a usual batch: pausing
# throws away what has been fetched already.
_LONG_BATCH_S = 5.0
# Smaller batches are finished before the next one is read, which is larger then: each costs a dozen commands, and at
# 1,000 events a second they were two thirds of the worker's CPU.
_OVERLAP_RECORDS = 500
_PACE_S = 0.05
# How long to wait for one more batch while the one before is finished.
_MORE_WAIT_S = 0.1
# A failed fetch is repeated at once and answered at once: without a pause this would be a busy loop.
_FAILED_FETCH_PAUSE_S = 0.5
# A consumer that broke is replaced: not more often than this.
_NEW_CONSUMER_PAUSE_S = 2.0


class Work(NamedTuple):
    """What the pipeline is at: one batch and those that followed it at once, all of one assignment."""

    task: asyncio.Task[None]
    topic: str
    generation: int


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
    ) -> None:
        self._database = database
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._new_session = new_session
        self._count_retry = retry_counter(metrics)
        self._versions = StreamVersions(database)
        table = routes(options.consumer.topics[0])
        self._pipeline = Pipeline(
            database, EventStore(database, self._versions), table, options.pipeline, clock, metrics, component
        )
        self._consumer = self._new_consumer()
        self._assignment = self._new_assignment()
        self._breaker = Breaker(options.breaker)
        self._probing: Partition | None = None
        self._work: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._pace = Pace(clock, _PACE_S)
        self._in_hand_bytes = 0
        self._in_hand_records = 0
        self._polled_at = 0.0
        metrics.buffer_limit_bytes.labels(self.name).set(BATCHES_IN_HAND * options.consumer.max_bytes)

    def _new_consumer(self) -> EventConsumer:
        return EventConsumer(self._options.consumer, self._clock, self._drain_for_revoke)

    def _new_assignment(self) -> Assignment:
        return Assignment(
            self._database, self._consumer, self._options, self._clock, self._metrics, self._new_session
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; a worker that finds itself fenced starts again as a new member of the group."""
        self._stopping = stop
        while not stop.is_set():
            self._consumer = self._new_consumer()
            self._assignment = self._new_assignment()
            try:
                if await self._join(stop):
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
                await self._consumer.stop()
                self._assignment.forget()

    async def _join(self, stop: asyncio.Event) -> bool:
        """Wait for a broker; False when told to stop first."""
        return await run_until_stopped(self._with_retry(self._consumer.start), stop)

    async def _consume(self, stop: asyncio.Event) -> None:
        """One turn: a new assignment, or one batch, or nothing to do; then the positions if they are due."""
        while not stop.is_set():
            if (
                self._consumer.rejoining or not self._consumer.polling
            ):  # a poll that never returns is no progress
                self._component.beat()
            if not self._assignment.is_ready:
                self._versions.clear()
                self._breaker.forget()
                self._probing = None
                await run_until_stopped(self._with_retry(self._assignment.on_assigned), stop)
                continue
            await self._pace.keep(stop)
            batch = await self._take()
            if isinstance(batch, CorruptBatch):
                await self._assignment.skip_gap(batch)
            elif batch is not None:
                # A batch that is dropped or given up leaves the consumer's position past records that are not
                # durable: no position may be committed before the next assignment has set it back.
                if batch.generation != self._consumer.generation:
                    continue
                work = self._begin_work(batch)
                del batch
                if not await self._see_through(work, stop):
                    continue
                self._versions.trim()
            if self._assignment.check_is_due:
                await self._assignment.check_positions()
                await self._burn_again()

    async def _burn_again(self) -> None:
        """Remind the server of one partition's owners before: of 64 partitions, each within 11 minutes."""
        due = due_to_burn(self._assignment.writers.values(), self._clock)
        if due is None:
            return
        try:
            await due.burn_again(self._database, self._clock, deadline_s=self._options.pipeline.deadline_s)
        except Retryable as error:
            log.warning("burn_not_repeated", reason=str(error))

    async def _take(self) -> Batch | CorruptBatch | None:
        due = None if self._consumer.polling else self._breaker.due(self._clock.monotonic())
        if due is not None:
            self._consumer.half_open_probe(due, self._options.breaker.probe_records)
            self._probing = due
        try:
            batch = await self._consumer.poll(wait_s=1.0)
        except Retryable as error:
            log.warning("ingest_position_invalid", reason=str(error))
            await self._clock.sleep(_FAILED_FETCH_PAUSE_S)
            if not self._assignment.suspects_restart:
                await self._assignment.check_positions()
            return None
        if batch is None and self._probing is not None and not self._consumer.polling:
            self._judge({self._probing: 0}, {})  # nothing there: whatever comes is read as usual
        return batch

    def _judge(self, records: Mapping[Partition, int], letters: Mapping[Partition, int]) -> None:
        """Have the breaker decide which partitions are read on, and say so."""
        self._probing = None
        changes = self._breaker.note(self._clock.monotonic(), records, letters)
        for partition, is_open in changes.items():
            where = {"topic": partition.topic, "partition": partition.number}
            if is_open:
                log.error("breaker_opened", **where, records=records[partition], dead=letters[partition])
            else:
                log.info("breaker_closed", **where)
        if changes or self._breaker.open:
            self._consumer.pause(self._breaker.open)
            self._show_paused()

    def _show_paused(self) -> None:
        resting = Counter(partition.topic for partition in self._breaker.open)
        for topic in self._options.consumer.topics:
            self._metrics.kafka_paused_partitions.labels(topic).set(resting[topic])

    def _begin_work(self, batch: Batch) -> Work:
        """Run the pipeline, which alone holds the batch from here on."""
        self._begin(batch)
        ingesting = self._pipeline.ingest(batch, self._assignment.writers, self)
        self._work = asyncio.create_task(ingesting)
        return Work(self._work, batch.records[0].source.topic, batch.generation)

    async def _see_through(self, begun: Work, stop: asyncio.Event) -> bool:
        """Stay a member of the group meanwhile, and mind the drain deadline once told to stop.

        False for work that was given up.
        """
        work = begun.task
        drain: Deadline | None = None
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=1.0)
                if not work.done() and self._clock.monotonic() - self._polled_at > _LONG_BATCH_S:
                    await self._stay_member(begun.topic)
                if stop.is_set() and drain is None:
                    drain = Deadline.after(self._clock, self._options.drain_deadline_s)
                if drain is not None and drain.passed:
                    work.cancel()
            return await self._finish(work)
        finally:
            if not work.done():  # we leave by an error of our own: nothing may go on behind our back
                await cancel_and_wait(work)
            self._work = None
            self._holds(-self._in_hand_bytes)
            if self._consumer.generation == begun.generation:
                self._consumer.resume()
                self._show_paused()

    def _begin(self, batch: Batch) -> None:
        """A batch is in hand."""
        self._metrics.ingest_batch_events.labels(batch.records[0].source.topic).observe(len(batch.records))
        self._holds(batch.size_bytes)
        self._in_hand_records = len(batch.records)
        self._polled_at = batch.polled_at

    def _holds(self, more_bytes: int) -> None:
        self._in_hand_bytes = max(0, self._in_hand_bytes + more_bytes)
        self._metrics.buffer_bytes.labels(self.name).set(self._in_hand_bytes)

    async def more(self) -> Batch | None:
        """For the pipeline: one more batch, unless it is not worth it or the next turn has something else to do."""
        self._versions.trim()
        if self._in_hand_records < _OVERLAP_RECORDS:
            return None
        busy = self._probing is not None or self._breaker.open or self._assignment.check_is_due
        if self._stopping.is_set() or busy or not self._assignment.is_ready:
            return None
        batch = await self._consumer.next_batch(_MORE_WAIT_S)
        if batch is not None:
            self._begin(batch)
        return batch

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """For the pipeline: acknowledge."""
        await self._assignment.commit(positions)

    def done(self, batch: Batch, letters: Counter[Partition]) -> None:
        """For the pipeline: a batch is durable."""
        self._metrics.kafka_records_consumed_total.labels(batch.records[0].source.topic).inc(
            len(batch.records)
        )
        self._holds(-batch.size_bytes)
        self._assignment.read(batch)
        if self._consumer.generation == batch.generation:
            self._judge(Counter(record.partition for record in batch.records), letters)

    async def _stay_member(self, topic: str) -> None:
        """A long batch (MongoDB slow or away) pauses reading; polling goes on so that the group keeps us."""
        try:
            await self._consumer.keep_polling()
        except Retryable as error:
            log.debug("poll_failed_while_paused", reason=str(error))
        self._metrics.kafka_paused_partitions.labels(topic).set(self._consumer.paused_count)

    async def _finish(self, work: asyncio.Task[None]) -> bool:
        """Raise what the work raised; False if it was given up: nothing is lost, its offsets were not committed."""
        await asyncio.wait({work})
        if work.cancelled():
            log.warning("batch_given_up", reason="drain deadline")
            return False
        work.result()
        return True

    async def _drain_for_revoke(self) -> None:
        """Finish and commit the batch in hand before the partitions go to somebody else, within the deadline."""
        self._metrics.kafka_rebalances_total.labels(RebalanceKind.REVOKED.value).inc()
        work = self._work
        if work is None:
            return
        began = self._clock.monotonic()
        await asyncio.wait({work}, timeout=self._options.drain_deadline_s)
        if not work.done():
            await cancel_and_wait(work)
        took = self._clock.monotonic() - began
        self._metrics.drain_duration_seconds.labels(DrainCause.REVOKE.value).observe(took)

    async def _with_retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await retrying(operation, clock=self._clock, on_retry=self._retried)

    def _retried(self, error: Retryable) -> None:
        self._count_retry(error)
        self._component.beat()
        log.warning("ingest_waits", reason=str(error))
