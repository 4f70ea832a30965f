"""The partitions this worker owns: made ready in order, committed last, their positions held against the log."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from worker.contract.gaps import GapReason
from worker.errors import Fenced, Retryable
from worker.gate import Gate
from worker.ingest.dead_letters import store_gaps
from worker.ingest.lease_offsets import LeaseOffsets
from worker.ingest.options import IngestOptions
from worker.ingest.time_series import SeriesWriter
from worker.kafka.consumer import EventConsumer
from worker.kafka.corrupt_batches import CorruptBatch
from worker.kafka.positions import Gap, LogRange, first_of, start_of
from worker.kafka.record import Batch, Partition
from worker.storage.database import Database
from worker.storage.partition_lease import sessions_in_force, shut_out_repairer, take_partition
from worker.telemetry.labels import RebalanceKind
from worker.telemetry.metrics import Metrics
from worker.telemetry.waits import Waits, server_of
from worker.timing import Clock

log = structlog.get_logger(__name__)

# Long enough for a new leader to learn how far its followers are, short enough that a restarted log is read soon.
_CONFIRM_AFTER_S = 3.0
_ROLE = "ingest"

OnGaps = Callable[[Sequence[Gap]], Awaitable[None]]
"""Pauses the partitions of gaps until somebody resumes them. May run twice. Raises Retryable without MongoDB."""


class Assignment:
    """The partitions that one consumer owns, in one generation of its group after the other.

    `writers` are the fenced writers of the partitions' rows. The durable offset of a partition is the next one
    to read that Kafka has accepted. What gives no answer is told of by `waits`. `on_gaps` is called before gaps are
    skipped: their partitions stop there. Topics in `made_since` are younger than this worker.
    """

    def __init__(
        self,
        database: Database,
        consumer: EventConsumer,
        options: IngestOptions,
        clock: Clock,
        metrics: Metrics,
        new_session: Callable[[], UUID],
        waits: Waits,
        gate: Gate | None = None,
        on_gaps: OnGaps | None = None,
        made_since: Collection[str] = (),
    ) -> None:
        self.writers: dict[Partition, SeriesWriter] = {}
        self._database = database
        self._consumer = consumer
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._new_session = new_session
        self._waits = waits
        self._gate = gate or Gate()
        self._on_gaps = on_gaps
        self._made_since = made_since
        self._offsets = LeaseOffsets(database, options.settings, clock, metrics)
        self._ready_generation = -1
        self._durable: dict[Partition, int] = {}
        self._owed: dict[Partition, int] = {}
        self._newest: dict[Partition, datetime] = {}
        self._restart_suspects: set[Partition] = set()
        self._known: frozenset[Partition] | None = None  # all there were when partitions were last assigned
        self._next_check = 0.0

    @property
    def is_ready(self) -> bool:
        """True while everything of the assignment in force is ready to be read."""
        return self._consumer.generation == self._ready_generation

    @property
    def durable(self) -> Mapping[Partition, int]:
        """The durable offset of each partition that is ready."""
        return self._durable

    @property
    def newest(self) -> Mapping[Partition, datetime]:
        """Kafka's time of the last durable record of each partition, as far as there was one."""
        return self._newest

    @property
    def check_is_due(self) -> bool:
        """True when positions are to be compared with the log; never during a poll, which moves them first."""
        return self._clock.monotonic() >= self._next_check and not self._consumer.polling

    @property
    def suspects_restart(self) -> bool:
        """True while a position has been found beyond the end of its log, and not yet for the second time."""
        return bool(self._restart_suspects)

    async def on_assigned(self) -> None:
        """Get ready for a new assignment: nothing is read before this is done. May be repeated at any point.

        1. positions by policy, gaps recorded  2. older owners burned, leases taken, by whom the broker still
        knows as the owner; the group's offsets held against those in the leases  3. partitions opened, and what was
        skipped committed: a gap counts once
        Returns without being ready when the assignment changes meanwhile. Raises Retryable without an answer.
        """
        generation = self._consumer.generation
        self.forget()
        known = self._consumer.partitions_of_topics()
        if not self._consumer.assigned:
            self._ready_generation = generation
            # A group that is still being joined has said nothing of partitions.
            if not self._consumer.rejoining:
                self._known = known
            return
        # 1.
        ranges = await self._consumer.log_ranges()
        committed = await self._committed(ranges)
        positions = committed | await self._first_positions(ranges, committed)
        starts = await self._starts(positions, ranges, positions)
        # 2. A log that was made anew is read again below the committed offset: no repairer may count on that.
        lowest = {p: min(offset, starts.get(p, offset)) for p, offset in positions.items()}
        try:
            writers = await self._new_writers(list(starts), lowest)
            await self._offsets.begin(writers, committed, starts)
        except Fenced as fenced:
            raise Retryable(f"somebody else has a partition by now: {fenced}") from fenced
        if self._consumer.generation != generation:
            return
        # 3.
        self._consumer.keep_paused(self._gate.held(_ROLE, starts))
        self._consumer.seek(starts)
        self.writers, self._durable = writers, dict(starts)
        if moved := {p: offset for p, offset in starts.items() if offset != positions[p]}:
            await self.commit(moved)
        self._ready_generation, self._known = generation, known
        self._metrics.kafka_rebalances_total.labels(RebalanceKind.ASSIGNED.value).inc()
        self._show()
        log.info("partitions_assigned", partitions=len(writers), generation=generation)

    def forget(self) -> None:
        """Forget the assignment, which is over. May be called twice."""
        self._ready_generation = -1
        self.writers, self._durable, self._owed, self._newest = {}, {}, {}, {}
        self._next_check = 0.0
        self._offsets.forget()
        self._show()

    def _show(self) -> None:
        for topic in self._options.consumer.topics:
            owned = sum(partition.topic == topic for partition in self.writers)
            if owned:  # before its first record is counted
                self._metrics.prepare_topic(topic)
            self._metrics.kafka_assigned_partitions.labels(topic).set(owned)
            self._metrics.kafka_paused_partitions.labels(topic).set(0)

    def note_newest(self, batch: Batch) -> None:
        """Note how new the records are that have just become durable."""
        self._newest.update({r.partition: r.timestamp for r in batch.records if r.timestamp is not None})

    async def _committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The group's durable offsets; a partition that has none yet is missing."""
        asked = {partition: await self._consumer.committed(partition) for partition in partitions}
        return {partition: offset for partition, offset in asked.items() if offset is not None}

    async def _first_positions(
        self, ranges: Mapping[Partition, LogRange], committed: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """By policy the begin or the end of the log, of each partition in which the group has no offset yet.

        A partition was added later if this consumer knew the topic without it, if the topic was not there when this
        worker began, or if a neighbour has a durable offset.
        """
        fresh = [partition for partition in ranges if partition not in committed]
        ends = await self._consumer.ends(fresh)
        begun = {*self._made_since, *(partition.topic for partition in committed)}
        firsts: dict[Partition, int] = {}
        for partition in fresh:
            unknown = self._known is not None and partition not in self._known
            added = unknown or partition.topic in begun
            log_range, policy = ranges[partition], self._options.settings.start_policy
            firsts[partition] = first_of(log_range, ends[partition], policy, added=added)
        # Chosen once: the next owner of a quiet partition would find a later end, behind records nobody has read, or
        # a later begin, and no gap. A refusal means that the assignment is over, and this one is not used.
        if firsts:
            await self._offsets.make(firsts)
            await self._consumer.commit(firsts)
        return firsts

    async def _starts(
        self,
        positions: Mapping[Partition, int],
        ranges: Mapping[Partition, LogRange],
        durable: Mapping[Partition, int],
    ) -> dict[Partition, int]:
        """Where to read each partition; gaps are on record before they are skipped."""
        decided = {
            partition: start_of(partition, position, ranges[partition])
            for partition, position in positions.items()
            if partition in ranges
        }
        gaps = [start.gap for start in decided.values() if start.gap is not None]
        self._confirm_restarts({gap.partition for gap in gaps if gap.reason is GapReason.LOG_RESTARTED})
        await self._stop_at(gaps, durable)
        await store_gaps(self._database, gaps, self._clock.now())
        for gap in gaps:
            self._report(gap)
        return {partition: start.offset for partition, start in decided.items()}

    def _confirm_restarts(self, found: set[Partition]) -> None:
        """Believe in a restarted log only when it is found twice: a new leader's high watermark may lag.

        Raises Retryable the first time, and has the next check come soon.
        """
        unconfirmed = found - self._restart_suspects
        self._restart_suspects = found
        if unconfirmed:
            self._next_check = self._clock.monotonic() + _CONFIRM_AFTER_S
            raise Retryable("a position lies beyond the end of the log: asking again")

    def _report(self, gap: Gap) -> None:
        self._metrics.gap_records_total.labels(gap.reason.value).inc()
        log.error(
            "gap_recorded",
            reason=gap.reason.value,
            topic=gap.partition.topic,
            partition=gap.partition.number,
            first_offset=gap.first_offset,
            last_offset=gap.last_offset,
        )

    async def _stop_at(self, gaps: Sequence[Gap], durable: Mapping[Partition, int]) -> None:
        """By setting, have the partitions of gaps wait behind them for somebody; before anything is skipped.

        Only their owner does: the broker is asked by the `durable` offsets. Raises Retryable for anybody else.
        """
        if self._on_gaps is None or not gaps:
            return
        await self._prove_generation({p: durable[p] for p in {gap.partition for gap in gaps} if p in durable})
        await self._on_gaps(gaps)
        for gap in gaps:
            self._gate.hold(gap.partition)

    def _pause_held(self) -> None:
        """Where positions are about to move over a gap: nothing is read behind it by a partition that stops there."""
        held = self._gate.held(_ROLE, self._durable)
        self._consumer.pause(self._consumer.paused | {Partition(*each) for each in held})

    async def skip_gap(self, corrupt: CorruptBatch) -> None:
        """Go on behind a corrupt batch: store the gap record first (keyed by its range), then move the offset.

        MongoDB away: nothing has moved, and the next turn meets the same batch again.
        """
        gap = corrupt.gap
        try:
            await self._stop_at([gap], self._durable)
            await store_gaps(self._database, [gap], self._clock.now())
            if corrupt.generation != self._consumer.generation:
                return  # whoever reads the partition now meets the batch, too
            if self._on_gaps is not None:
                self._pause_held()
            self._consumer.seek({gap.partition: gap.last_offset + 1})
        except Retryable as error:
            log.warning("gap_not_skipped", reason=str(error))
            return
        self._report(gap)
        await self.commit({gap.partition: gap.last_offset + 1})

    async def _new_writers(
        self, partitions: Sequence[Partition], positions: Mapping[Partition, int]
    ) -> dict[Partition, SeriesWriter]:
        """Take the partitions' leases from their former owners, and from nobody who came after us.

        This may come late (a machine that slept, a frozen process), when the group has gone on without us. So
        the broker is asked between reading a session and burning it: once for all, and again for any other one.
        """
        former = await sessions_in_force(self._database, [(p.topic, p.number) for p in partitions])
        await self._prove_generation(positions)

        async def may_burn(session: UUID) -> None:
            if session not in former:
                await self._prove_generation(positions)

        deadline_s, writers = self._options.settings.answer_deadline_s, dict[Partition, SeriesWriter]()
        take = partial(take_partition, clock=self._clock, deadline_s=deadline_s, may_burn=may_burn)
        for partition in partitions:
            owner_at = self._clock.monotonic()
            lease = await take(self._database, *partition, self._new_session())
            writers[partition] = SeriesWriter(lease, owner_at)
        return writers

    async def _prove_generation(self, positions: Mapping[Partition, int]) -> None:
        """Have the broker say that our generation is the group's: it takes the durable offsets from no other.

        Raises Retryable where it is not; the next assignment is on its way.
        """
        if not positions or not await self._consumer.commit(positions):
            raise Retryable("the assignment is over: a newer generation has the partitions")

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit these next offsets; what the broker does not take now goes with the next commit.

        The leases have them first: so an offset that the group has and the lease has not tells of a lost store.
        """
        self._owed.update(positions)
        try:
            await self._offsets.advance(self._owed)
            accepted = await self._consumer.commit(self._owed)
        except Retryable as error:
            if server_of(error) is None:
                log.warning("commit_owed", reason=str(error), partitions=len(self._owed))
            else:
                self._waits.failed(error)
            return
        self._waits.over()
        if accepted:
            self._durable.update(self._owed)
        self._owed.clear()

    async def check_positions(self) -> None:
        """Compare positions with the ends of the log, and go on by policy where one is outside."""
        self._next_check = self._clock.monotonic() + self._options.settings.position_check_interval_s
        try:
            ranges = await self._consumer.log_ranges()
            positions = {p: await self._consumer.position(p) for p in ranges if p in self._durable}
            starts = await self._starts(positions, ranges, self._durable)
            await self._lower({p: offset for p, offset in starts.items() if offset < positions[p]})
        except Retryable as error:
            if server_of(error) is None:
                log.warning("positions_unknown", reason=str(error))
            else:
                self._waits.failed(error)
            return
        self._waits.kafka.over()
        moved = {p: offset for p, offset in starts.items() if offset != positions[p]}
        try:
            if moved and self._on_gaps is not None and self.is_ready:
                self._pause_held()
            self._consumer.seek(moved)
        except Retryable:
            return  # the assignment is gone; the next one checks for itself
        ahead = {p: offset for p, offset in starts.items() if offset != self._durable[p]}
        if ahead or self._owed:
            await self.commit(ahead)
        with suppress(Retryable):
            await self._offsets.look_again()

    async def _lower(self, positions: Mapping[Partition, int]) -> None:
        """Commit lower offsets before what lies behind them is read again; shut out repairers, who know higher ones.

        Raises Retryable without an answer, Fenced where another worker has the partition.
        """
        if positions and not await self._consumer.commit(positions):
            raise Retryable("the assignment is over: a newer generation has the partitions")
        for partition in positions:
            lease, deadline_s = self.writers[partition].lease, self._options.settings.answer_deadline_s
            await shut_out_repairer(self._database, lease, deadline_s=deadline_s)
