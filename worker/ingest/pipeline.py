"""Batches from bytes to durable documents: the six steps of ingest, in the order that makes a crash harmless.

The order holds for every event: decoded, stored, its row written, its offset committed. A large batch goes through
the steps in parts: while MongoDB stores one, the next is decoded, what its events are stamped with is read, and the
rows of those before are written.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bson import ObjectId

from worker.chunks import chunks
from worker.contract.routes import Routes
from worker.ingest.accounting import count_outcome
from worker.ingest.dead_letters import store_dead_letters
from worker.ingest.decode import Decoded, decode_records
from worker.ingest.enrich.stamps import Enricher, Stamps
from worker.ingest.event_store import EventStore
from worker.ingest.payments import store_payments
from worker.ingest.plan import Sorted, sort_candidates, undecided
from worker.ingest.record import BatchOutcome, Candidate, Stored
from worker.ingest.steps import Steps
from worker.ingest.time_series import SeriesRows, SeriesWriter
from worker.ingest.write_behind import SeriesWriteBehind
from worker.kafka.record import Batch, Partition, Record
from worker.settings import IngestSettings
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.telemetry.health import Component
from worker.telemetry.labels import Outcome, Stage
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Attributes, Tracing, traces_of_records
from worker.timing import Clock, backoff_s, cancel_and_wait_shielded

# While the last rows of a batch are written, the next one is read and stored.
BATCHES_IN_FLIGHT = 2
# Between rounds of sorting and inserting the same events.
_SHORTEST_PAUSE_S = 0.025
_LONGEST_PAUSE_S = 2.0
# Decoding is pure computation: give the loop its turn after this many records (about 20 ms).
_DECODE_CHUNK = 200


@dataclass(frozen=True, slots=True)
class BatchSource:
    """Where batches come from, and who is told of them: all that the pipeline calls in the role that runs it.

    `next_batch` gives the next batch of the same assignment, None if there is none at once or something else has to
    be seen to first. `commit` acknowledges the next offsets to read. `on_durable` hears of each batch that is durable
    and acknowledged, with the number of dead letters of each partition and of records by outcome.
    """

    next_batch: Callable[[], Awaitable[Batch | None]]
    commit: Callable[[Mapping[Partition, int]], Awaitable[None]]
    on_durable: Callable[[Batch, Counter[Partition], Mapping[Outcome, int]], None]


class Pipeline:
    """Takes batches in their order. Everything it does may run twice; the docstrings name the key."""

    def __init__(
        self,
        database: Database,
        events: EventStore,
        table: Routes,
        settings: IngestSettings,
        clock: Clock,
        metrics: Metrics,
        component: Component,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._database = database
        self._events = events
        self._table = table
        for route in table.values():
            route.types.prepare()
        self._settings, self._limits = settings, settings.limits
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._tracing = tracing
        self._steps = Steps(clock, metrics, component)
        self._enricher = Enricher(database, clock)
        self._series = SeriesRows(database, table, settings, clock, self._steps)
        self.waits = self._steps.waits

    async def run(self, batch: Batch, writers: Mapping[Partition, SeriesWriter], source: BatchSource) -> None:
        """Ingest a batch, and after it those that the source has more of, in their order.

        Two are in flight at most: the next one is stored while the last rows of this one are written. Stops with
        Fenced when a newer owner exists; waits as long as MongoDB is away.
        """
        tasks: list[asyncio.Task[None]] = []
        current: Batch | None = batch
        del batch  # let go of as soon as it is durable, however long this goes on
        try:
            while current is not None:
                stored = asyncio.get_running_loop().create_future()
                before = tasks[-1] if tasks else None
                tasks.append(asyncio.create_task(self._traced(current, writers, source, stored, before)))
                await asyncio.wait({tasks[-1], stored}, return_when=asyncio.FIRST_COMPLETED)
                if tasks[-1].done():
                    tasks[-1].result()
                if before is not None:
                    await before
                    tasks.remove(before)
                current = await source.next_batch()
            await tasks[-1]
        finally:
            await cancel_and_wait_shielded(*tasks)

    async def _traced(
        self,
        batch: Batch,
        writers: Mapping[Partition, SeriesWriter],
        source: BatchSource,
        stored: asyncio.Future[None],
        before: asyncio.Task[None] | None,
    ) -> None:
        """`ingest` in a span of its own, linked to the traces of the records."""
        attributes: Attributes = {
            "messaging.system": "kafka",
            "messaging.batch.message_count": len(batch.records),
        }
        traces = partial(traces_of_records, (record.headers for record in batch.records))
        with self._tracing.span("ingest batch", attributes, kind="consumer", links=traces):
            await self.ingest(batch, writers, source, stored, before)

    async def ingest(
        self,
        batch: Batch,
        writers: Mapping[Partition, SeriesWriter],
        source: BatchSource,
        stored: asyncio.Future[None],
        before: asyncio.Task[None] | None = None,
    ) -> None:
        """Make one batch durable. `stored` is done when its events are; `before` is the batch that comes first.

        1. decode and validate, and read what events are stamped with  2. drop duplicates  3. give versions
        4. insert the events, fill holes, and insert the payments that enrolments name
        5. insert the rows; store dead letters  6. commit the next offsets
        Of a large batch part by part, up to 5.: of the parts, 1., 2. to 4., and 5. go on beside each other.
        """
        outcome = BatchOutcome()
        rows = SeriesWriteBehind(partial(self._series.write, batch, writers), before)
        parts = list(chunks(batch.records, self._settings.part_records))
        preparing = asyncio.create_task(self._prepare(parts[0], batch.read_at))
        try:
            for following in [*parts[1:], ()]:
                # 1.
                decoded, stamps = await preparing
                preparing = asyncio.create_task(self._prepare(following, batch.read_at))
                part, pending, rounds = decoded.outcome, decoded.candidates, 0
                while pending:
                    # 2.
                    await self._pause_before(rounds)
                    found = await self._sort(pending)
                    # 3. and 4.
                    append = partial(self._events.append, found.new, stamps, self._clock.now())
                    with self._steps.timed(Stage.EVENT_STORE):
                        appended = await self._steps.with_retry(append)
                    self._metrics.version_holes_filled_total.inc(appended.holes_filled)
                    decided, pending = undecided(
                        pending, found, appended, await self._stored_before(found.redelivered)
                    )
                    part.add(decided)
                    rounds += 1
                outcome.add(part)
                outcome.add(await self._store_payments(part))
                # 5.
                rows.add(part)
            stored.set_result(None)
            dead_letters = partial(store_dead_letters, self._database, outcome.dead_letters)
            await self._steps.with_retry(lambda: dead_letters(self._clock.now()))
            await rows.finish()
        finally:
            await cancel_and_wait_shielded(preparing, *rows.tasks)
        # 6.
        with self._steps.timed(Stage.COMMIT):
            await source.commit(batch.positions)
        counted = count_outcome(self._metrics, batch, outcome, self._clock.now() + self._limits.max_future)
        # Of a record with several events one may be bad, or all: the breaker counts records.
        bad = {each.record.source[:3]: each.record.partition for each in outcome.dead_letters}
        source.on_durable(batch, Counter(bad.values()), counted)

    async def _store_payments(self, part: BatchOutcome) -> BatchOutcome:
        """Store the payments that stored enrolments name; they are counted by no record. Returns what was refused."""
        enrolments = [*part.stored, *part.redelivered]
        rows = self._database.billing_transactions
        store = partial(store_payments, self._events, rows, enrolments, pause=self._pause_before)
        done = await self._steps.with_retry(lambda: store(recorded_at=self._clock.now()))
        self._metrics.version_holes_filled_total.inc(done.holes_filled)
        return BatchOutcome(dead_letters=done.refused, further=[each.record for each in done.refused])

    async def _prepare(self, records: Sequence[Record], read_at: datetime) -> tuple[Decoded, Stamps]:
        """The events of these records, and what they are stamped with: all that goes on while others are stored."""
        decoded = await self._decode(records, read_at)
        return decoded, await self._steps.with_retry(partial(self._enricher.stamps, decoded.candidates))

    async def _decode(self, records: Sequence[Record], read_at: datetime) -> Decoded:
        """Decode record by record, and let the event loop have its turns."""
        whole = Decoded()
        took_s = 0.0
        for chunk in chunks(records, _DECODE_CHUNK):
            began = self._clock.monotonic()
            part = decode_records(chunk, self._table, self._limits, read_at)
            took_s += self._clock.monotonic() - began
            whole.add(part)
            self._component.beat()
            await asyncio.sleep(0)
        if records:
            self._metrics.ingest_stage_duration_seconds.labels(Stage.DECODE.value).observe(took_s)
        return whole

    async def _pause_before(self, rounds: int) -> None:
        """Wait before a further round: not before the second, later ones meet a write that no majority has yet."""
        if rounds > 1:
            self._component.beat()
            await self._clock.sleep(backoff_s(rounds + 1, _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))

    async def _sort(self, candidates: Sequence[Candidate]) -> Sorted:
        """Hold candidates against what is stored under their ids, and against the learners that were erased.

        Sorted anew is who lost a race on an id or a version, whoever was sorted by a record that is not stored after
        all, and an event that was erased between two reads.
        """
        with self._steps.timed(Stage.PLAN):
            erased = await self._steps.with_retry(partial(self._erased_learners, candidates))
            known = await self._steps.with_retry(partial(self._events.known, candidates))
            return sort_candidates(candidates, known, erased)

    async def _erased_learners(self, candidates: Sequence[Candidate]) -> set[ObjectId]:
        learners = {candidate.event.user_id for candidate in candidates}
        if not learners:
            return set()
        wanted = {"_id": {"$in": list(learners)}}
        with translated():
            found = await self._database.tombstones.find(wanted, {"_id": 1}).to_list(None)
        return {row["_id"] for row in found}

    async def _stored_before(self, candidates: Sequence[Candidate]) -> list[Stored]:
        """The redelivered events that are still stored, each with its document."""
        ids = [candidate.event.event_id for candidate in candidates]
        documents = await self._steps.with_retry(lambda: self._events.documents(ids))
        found = ((c.record, documents.get(c.event.event_id)) for c in candidates)
        return [Stored(record, document) for record, document in found if document is not None]
