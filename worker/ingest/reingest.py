"""Reads records again that the group has read before, and takes them through the same door as ingest.

What is stored is a duplicate and changes nothing; what is missing is stored, with its row, under the origin of the
job, so that nobody is notified. The group goes on meanwhile: only offsets below its committed ones are read, and
their rows are written as the partitions' repairer.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from worker.errors import Fenced, Refused
from worker.ingest.dead_letters import store_gaps
from worker.ingest.event_store import EventStore
from worker.ingest.options import IngestOptions
from worker.ingest.pipeline import BatchSource, Pipeline
from worker.ingest.repair import Repairer
from worker.ingest.versions import StreamVersions
from worker.kafka.log_reader import LogReader
from worker.kafka.positions import Gap
from worker.kafka.record import Batch, Partition
from worker.kafka.spans import Span
from worker.storage.database import Database
from worker.telemetry.health import Component
from worker.telemetry.labels import Outcome
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)

# So many batches are read and stored beside each other before the place is saved.
_BATCHES_A_STEP = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What a step has made durable: where each span stands now, and what became of the records."""

    spans: Sequence[Span]
    records: int
    outcomes: Mapping[str, int]


OnStep = Callable[[Step], Awaitable[None]]


@dataclass(slots=True)
class _Stretch:
    """What one run of the pipeline reads: some batches, until it shall save its place, or meets a gap."""

    spans: dict[Partition, Span]
    durable: dict[Partition, int] = field(default_factory=dict)
    read: dict[Partition, int] = field(default_factory=dict)
    gap: Gap | None = None
    batches: int = 0
    records: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def cut(self, batch: Batch) -> Batch | None:
        """What of a batch lies in the spans; None for nothing."""
        self.batches += 1
        self.read.update(batch.positions)
        kept = tuple(r for r in batch.records if r.source.offset < self.spans[r.partition].end)
        positions = {record.partition: record.source.offset + 1 for record in kept}
        return replace(batch, records=kept, positions=positions) if kept else None

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """The place is saved when the stretch is over."""
        self.durable.update(positions)

    def on_durable(
        self, batch: Batch, _dead_letters: Counter[Partition], outcomes: Mapping[Outcome, int]
    ) -> None:
        self.records += len(batch.records)
        self.outcomes.update({name.value: number for name, number in outcomes.items()})


class Reingest:
    """One job's reading. May run twice, and beside the live group: the keys of ingest decide."""

    def __init__(
        self,
        database: Database,
        options: IngestOptions,
        reader: LogReader,
        clock: Clock,
        metrics: Metrics,
        component: Component,
        new_session: Callable[[], UUID],
        *,
        origin: str,
    ) -> None:
        self._database = database
        self._reader = reader
        self._clock = clock
        self._repairer = Repairer(database, options.settings, clock, metrics, component, new_session)
        self._versions = StreamVersions(database)
        events = EventStore(database, self._versions, origin)
        self._pipeline = Pipeline(
            database, events, options.routes, options.settings, clock, metrics, component
        )

    async def run(self, spans: Sequence[Span], on_step: OnStep) -> None:
        """Read these spans, of different partitions; `on_step` is awaited after each step, with nothing in hand.

        1. become the repairer of the partitions  2. ask what the group has committed: nothing above is read
        3. read and store some batches  4. tell the step; and again: from 1. where an owner took a partition.

        Raises NotInTheLog where records are gone, Retryable without an answer of Kafka.
        """
        at = {span.partition: span for span in spans}
        is_ours = False
        while not all(span.is_done for span in at.values()):
            if not is_ours:
                at = await self._begin(at)
                is_ours = True
                continue
            stretch = _Stretch(at)
            try:
                await self._stretch(stretch)  # 3
                moved = stretch.read
            except Fenced as fenced:
                log.info("reingest_begins_again", reason=str(fenced))
                self._repairer.forget()
                is_ours, moved = False, stretch.durable
            at = {p: span.read_up_to(moved.get(p, span.next)) for p, span in at.items()}
            if is_ours:
                at = await self._look_for_ends(at, stretch)
            await on_step(Step(list(at.values()), stretch.records, stretch.outcomes))  # 4

    async def _begin(self, at: Mapping[Partition, Span]) -> dict[Partition, Span]:
        self._versions.clear()
        await self._repairer.writers(at)  # 1
        committed = await self._reader.committed(at)  # 2
        spans = {partition: span.cut(committed.get(partition, 0)) for partition, span in at.items()}
        self._reader.read_from({p: span.next for p, span in spans.items() if not span.is_done})
        return spans

    async def _stretch(self, stretch: _Stretch) -> None:
        """Have the pipeline take in some batches; a gap is put on record and passed when all before it is durable."""

        async def next_batch() -> Batch | None:
            if stretch.gap is not None or stretch.batches >= _BATCHES_A_STEP:
                return None
            polled = await self._reader.poll()
            if isinstance(polled, Gap):
                stretch.gap = polled
                return None
            return stretch.cut(polled) if polled is not None else None

        batch = await next_batch()
        if batch is not None:
            writers = await self._repairer.writers(stretch.spans)
            source = BatchSource(next_batch, stretch.commit, stretch.on_durable)
            await self._pipeline.run(batch, writers, source)
            self._versions.trim()
        if (gap := stretch.gap) is not None:
            await store_gaps(self._database, [gap], self._clock.now())
            self._reader.seek({gap.partition: gap.last_offset + 1})
            stretch.read[gap.partition] = gap.last_offset + 1

    async def _look_for_ends(self, at: Mapping[Partition, Span], stretch: _Stretch) -> dict[Partition, Span]:
        """Read no further in spans that are done: where nothing came, markers may be all that is left of one."""
        spans = dict(at)
        if not stretch.batches and stretch.gap is None:
            for partition, span in at.items():
                if not span.is_done:
                    spans[partition] = span.read_up_to(await self._passed(span))
        self._reader.leave_out([partition for partition, span in spans.items() if span.is_done])
        return spans

    async def _passed(self, span: Span) -> int:
        """The offset up to which there is nothing more to read."""
        position = await self._reader.position(span.partition)
        end = self._reader.high_watermark(span.partition)
        if end is not None and end < span.end and position >= end:
            topic, number = span.partition
            raise Refused(
                f"the log of {topic}/{number} ends at {end:,}, before what the group has committed "
                f"({span.end:,}): it was made anew; choose offsets below {end:,}"
            )
        return position
