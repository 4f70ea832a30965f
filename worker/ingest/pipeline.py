"""Batches from bytes to durable documents: the six steps of ingest, in the order that makes a crash harmless.

The order holds for every event: decoded, stored, its row written, its offset committed. A large batch goes through
the steps in parts: while MongoDB stores one, the next is decoded and the rows of those before are written.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import structlog
from bson import ObjectId

from worker.chunks import chunks
from worker.contract.codec import Limits
from worker.contract.event import RejectReason
from worker.errors import Fenced, Retryable
from worker.ingest.curriculum import courses_to_count, read_curricula
from worker.ingest.dead_letters import keep
from worker.ingest.decode import Decoded, decode_records
from worker.ingest.event_store import EventStore
from worker.ingest.plan import Known, sort_candidates, undecided, unlike, without_outcome
from worker.ingest.record import Candidate, Letter, Settled, Stored
from worker.ingest.routes import Route
from worker.ingest.rows_behind import RowsBehind
from worker.ingest.time_series import SeriesWriter, assert_young, commands, rows_present
from worker.kafka.record import Batch, Partition, Record
from worker.storage.database import Database, Document
from worker.storage.documents import interaction_row
from worker.storage.errors import translated
from worker.storage.retrying import retrying
from worker.telemetry.health import Component
from worker.telemetry.metrics import DropReason, Metrics, Outcome, Stage
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock, backoff_s, cancel_and_wait_shielded

log = structlog.get_logger(__name__)

T = TypeVar("T")

# While the last rows of a batch are written, the next one is read and stored.
BATCHES_IN_HAND = 2
# Between rounds of sorting and inserting the same events.
_SHORTEST_REST_S = 0.025
_LONGEST_REST_S = 2.0
# Of records that were dropped, which is a defect: enough to find them in Kafka.
_SHOWN_POSITIONS = 20
# A sum that has taken in one absurd value says nothing any more; the last bucket is a week.
_LONGEST_LATENESS_S = 366 * 86_400.0
# Decoding is pure computation: give the loop its turn after this many records (about 20 ms).
_DECODE_CHUNK = 200


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """`max_rows` and `max_bytes` bound one time-series command; `deadline_s` is one answer of MongoDB.

    A batch of more than `part_records` is worked on in parts, which costs MongoDB nothing (tried: 2,000 to 20,000).
    """

    limits: Limits = field(default_factory=Limits)
    part_records: int = 2_500
    max_rows: int = 20_000
    max_bytes: int = 15_000_000
    deadline_s: float = 20.0


class Feed(Protocol):
    """Where batches come from, and who is told that they are durable."""

    async def more(self) -> Batch | None:
        """The next batch of the same assignment, if there is one at once and nothing else has to be seen to first."""

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Acknowledge: the next offsets to read."""

    def done(self, batch: Batch, letters: Counter[Partition]) -> None:
        """A batch is durable and acknowledged; `letters` counts the dead letters of each partition."""


class Became(NamedTuple):
    """What became of the records of a batch."""

    decoded: Decoded
    settled: Settled

    @property
    def letters(self) -> Sequence[Letter]:
        return [*self.decoded.letters, *self.settled.letters]


class Pipeline:
    """Takes batches in their order. Everything it does may run twice; the docstrings name the key."""

    def __init__(
        self,
        database: Database,
        events: EventStore,
        table: Mapping[str, Route],
        options: PipelineOptions,
        clock: Clock,
        metrics: Metrics,
        component: Component,
    ) -> None:
        self._database = database
        self._events = events
        self._table = table
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._count_retry = retry_counter(metrics)

    async def ingest(self, batch: Batch, writers: Mapping[Partition, SeriesWriter], feed: Feed) -> None:
        """Make a batch durable, and after it those that the feed has more of, in their order.

        1. decode and validate  2. drop duplicates  3. give versions  4. insert the events, fill holes
        5. insert the rows; keep dead letters  6. commit the next offsets
        Of a large batch part by part, up to 5.: of the parts, 1., 2. to 4., and 5. go on beside each other. Two
        batches are in hand at most: the next one is stored while the last rows of this one are written.

        Stops with Fenced when a newer owner exists; waits as long as MongoDB is away.
        """
        before: asyncio.Task[None] | None = None
        current: Batch | None = batch
        rows = RowsBehind(partial(self._write_rows, batch, writers))
        del batch  # let go of as soon as it is durable, however long this goes on
        try:
            while current is not None:
                became = await self._store(current, rows)
                if before is not None:
                    await before
                before = asyncio.create_task(self._finish(current, became, rows, feed))
                current = await feed.more()
                if current is None:
                    await before
                else:
                    rows = RowsBehind(partial(self._write_rows, current, writers), before)
        finally:
            await cancel_and_wait_shielded(*rows.tasks, *([before] if before is not None else []))

    async def _store(self, batch: Batch, rows: RowsBehind) -> Became:
        """Steps 1. to 4. of all parts; what has settled is handed to the `rows`."""
        decoded, settled = Decoded(), Settled()
        size = self._options.part_records
        parts = list(chunks(batch.records, size))
        decoding = asyncio.create_task(self._decode(parts[0], batch.read_at, decoded))
        try:
            for following in [*parts[1:], ()]:
                candidates = await decoding
                decoding = asyncio.create_task(self._decode(following, batch.read_at, decoded))
                part = await self._settle(candidates)
                settled.add(part)
                rows.add(part)
        finally:
            await cancel_and_wait_shielded(decoding)
        return Became(decoded, settled)

    async def _finish(self, batch: Batch, became: Became, rows: RowsBehind, feed: Feed) -> None:
        """The rest of steps 5. and 6."""
        letters = became.letters
        try:
            await self._with_retry(lambda: keep(self._database, letters, self._clock.now()))
            await rows.finish()
        finally:
            await cancel_and_wait_shielded(*rows.tasks)
        with self._timed(Stage.COMMIT):
            await feed.commit(batch.positions)
        self._count(batch, became.decoded, became.settled, letters)
        feed.done(batch, Counter(letter.record.partition for letter in letters))

    async def _decode(
        self, records: Sequence[Record], read_at: datetime, whole: Decoded
    ) -> Sequence[Candidate]:
        """Add what the records are to the `whole`; returns those that hold an event."""
        candidates: list[Candidate] = []
        took = 0.0
        for chunk in chunks(records, _DECODE_CHUNK):
            began = self._clock.monotonic()
            part = decode_records(chunk, self._table, self._options.limits, read_at)
            took += self._clock.monotonic() - began
            candidates.extend(part.candidates)
            whole.letters.extend(part.letters)
            whole.tombstones.extend(part.tombstones)
            self._component.beat()
            await asyncio.sleep(0)
        if records:
            self._metrics.ingest_stage_duration_seconds.labels(Stage.DECODE.value).observe(took)
        return candidates

    async def _settle(self, candidates: Sequence[Candidate]) -> Settled:
        """Sort and insert until nothing is left open.

        Sorted anew is who lost a race on an id or a version, whoever was sorted by a record that is not stored after
        all, and an event that was erased between two reads.
        """
        settled = Settled()
        pending = list(candidates)
        courses = courses_to_count(candidates)
        curricula = await self._with_retry(lambda: read_curricula(self._database, courses))
        for again in count():
            if not pending:
                break
            await self._rest_between(again)
            with self._timed(Stage.PLAN):
                erased = await self._with_retry(partial(self._erased_learners, pending))
                found = sort_candidates(pending, await self._known(pending), erased)
            with self._timed(Stage.EVENT_STORE):
                append = partial(self._events.append, found.new, curricula, self._clock.now())
                appended = await self._with_retry(append)
            self._metrics.version_holes_filled_total.inc(appended.holes_filled)
            redelivered = await self._stored_before(found.redelivered)
            decided, pending = undecided(pending, found, appended, redelivered)
            settled.add(decided)
        return settled

    async def _rest_between(self, rounds: int) -> None:
        """Who lost a race tries again at once; who loses again waits for a write that no majority has yet."""
        if rounds > 1:
            self._component.beat()
            await self._clock.sleep(backoff_s(rounds + 1, _SHORTEST_REST_S, _LONGEST_REST_S))

    async def _known(self, candidates: Sequence[Candidate]) -> Mapping[UUID, Known]:
        """What is stored under the candidates' ids."""
        ids = [candidate.event.event_id for candidate in candidates]
        known = await self._with_retry(partial(self._events.known, ids))
        if others := unlike(candidates, known):
            known |= await self._with_retry(partial(self._events.known_by_content, others))
        return known

    async def _erased_learners(self, candidates: Sequence[Candidate]) -> set[ObjectId]:
        learners = {candidate.event.user_id for candidate in candidates}
        if not learners:
            return set()
        with translated():
            found = await self._database.tombstones.find(
                {"_id": {"$in": list(learners)}}, {"_id": 1}
            ).to_list(None)
        return {row["_id"] for row in found}

    async def _stored_before(self, candidates: Sequence[Candidate]) -> list[Stored]:
        """Those that are still there, with their documents."""
        ids = [candidate.event.event_id for candidate in candidates]
        documents = await self._with_retry(lambda: self._events.documents(ids))
        found = ((c.record, documents.get(c.event.event_id)) for c in candidates)
        return [Stored(record, document) for record, document in found if document is not None]

    async def _write_rows(
        self, batch: Batch, writers: Mapping[Partition, SeriesWriter], settled: Settled
    ) -> None:
        """Each partition's rows on its own session: new events, and redelivered ones whose row is missing."""
        with self._timed(Stage.TIME_SERIES):
            await self._insert_rows(batch, writers, await self._missing_rows(settled))

    async def _missing_rows(self, settled: Settled) -> Mapping[Partition, Sequence[Document]]:
        rows: dict[Partition, list[Document]] = {}
        for stored in settled.stored:
            rows.setdefault(stored.record.partition, []).append(interaction_row(stored.document))
        again = [
            (stored.record.partition, interaction_row(stored.document)) for stored in settled.redelivered
        ]
        present = await self._with_retry(lambda: rows_present(self._database, [row for _, row in again]))
        for partition, row in again:
            if row["_id"] not in present:
                rows.setdefault(partition, []).append(row)
        return rows

    async def _insert_rows(
        self,
        batch: Batch,
        writers: Mapping[Partition, SeriesWriter],
        rows: Mapping[Partition, Sequence[Document]],
    ) -> None:
        # No TaskGroup: it passes a cancellation on once, and a driver's operation can lose one (see `end`).
        writing = [
            asyncio.create_task(self._write_partition(batch, writers[partition], missing))
            for partition, missing in rows.items()
            if self._table[partition.topic].time_series
        ]
        try:
            if writing:
                await asyncio.wait(writing, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await cancel_and_wait_shielded(*writing)
        errors = [error for task in writing if not task.cancelled() and (error := task.exception())]
        if errors:
            # Several may fail at once: that a newer owner exists matters more than how else it went.
            raise min(errors, key=lambda error: not isinstance(error, Fenced))
        for task in writing:
            task.result()  # one that gave up by itself has not written its rows

    async def _write_partition(self, batch: Batch, writer: SeriesWriter, rows: Sequence[Document]) -> None:
        """One command after the other, each sent unchanged until it is answered."""

        async def send() -> None:
            assert_young(batch, self._clock)
            await writer.send(self._database, self._clock, deadline_s=self._options.deadline_s)

        for command in commands(rows, self._options.max_rows, self._options.max_bytes):
            writer.begin(command)
            await self._with_retry(send)

    async def _with_retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat while MongoDB is away; both an answer and a counted retry are progress."""
        result = await retrying(operation, clock=self._clock, on_retry=self._retried)
        self._component.beat()
        return result

    def _retried(self, error: Retryable) -> None:
        self._count_retry(error)
        self._component.beat()

    def _count(self, batch: Batch, decoded: Decoded, settled: Settled, letters: Sequence[Letter]) -> None:
        """Every record of the batch under exactly one outcome; one that has none was dropped."""
        conflicts = [letter for letter in letters if letter.rejected.reason is RejectReason.CONFLICT]
        dead = [letter for letter in letters if letter.rejected.reason is not RejectReason.CONFLICT]
        by_outcome: list[tuple[Outcome, Sequence[Record]]] = [
            (Outcome.STORED, [stored.record for stored in settled.stored]),
            (Outcome.REDELIVERED, [stored.record for stored in settled.redelivered]),
            (Outcome.DUPLICATE, [candidate.record for candidate in settled.duplicates]),
            (Outcome.CONFLICT, [letter.record for letter in conflicts]),
            (Outcome.DEAD_LETTERED, [letter.record for letter in dead]),
            (Outcome.SKIPPED, [*decoded.tombstones, *(candidate.record for candidate in settled.erased)]),
        ]
        for outcome, records in by_outcome:
            for topic, number in Counter(record.source.topic for record in records).items():
                self._metrics.events_processed_total.labels(topic, outcome.value).inc(number)
        dropped = without_outcome(batch.records, [records for _, records in by_outcome])
        if dropped:
            self._metrics.events_dropped_total.labels(DropReason.UNEXPECTED.value).inc(len(dropped))
            log.error("records_dropped", records=len(dropped), first=dropped[:_SHOWN_POSITIONS])
        for letter in letters:
            self._metrics.dead_lettered_events_total.labels(letter.rejected.reason.value).inc()
        newest = self._clock.now() + self._options.limits.max_future
        for stored in settled.stored:
            lateness_s = _lateness_s(stored, newest)
            if lateness_s is not None:
                self._metrics.event_lateness_seconds.observe(lateness_s)

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self._metrics.ingest_stage_duration_seconds.labels(stage.value).observe(
            self._clock.monotonic() - began
        )


def _lateness_s(stored: Stored, newest: datetime) -> float | None:
    """From what happened to its record in Kafka; None where the record's time is none, or lies ahead of `newest`."""
    timestamp = stored.record.timestamp
    if timestamp is None or timestamp > newest:
        return None
    lateness_s: float = (timestamp - stored.document["occurred_at"]).total_seconds()
    return min(max(0.0, lateness_s), _LONGEST_LATENESS_S)
