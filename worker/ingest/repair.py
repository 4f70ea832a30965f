"""The one repairer of time-series rows: writes those that are missing, of records that the group has done with.

Below the committed offset the owner of a partition writes no row any more. So whoever holds the partition's lease as
its repairer may look which rows are missing there, and write them, while the owner goes on above.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from worker.contract.families import WITHOUT_ROW
from worker.contract.routes import Routes
from worker.contract.source import source_of
from worker.errors import Fenced, Retryable
from worker.ingest.record import BatchOutcome, Stored
from worker.ingest.row_removal import delete_rows
from worker.ingest.steps import Steps
from worker.ingest.time_series import SeriesRows, SeriesWriter, due_to_burn
from worker.kafka.record import Batch, Partition, Record
from worker.settings import IngestSettings
from worker.storage.database import Database, Document
from worker.storage.documents import interaction_row
from worker.storage.partition_lease import take_repair
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import Backoff, Clock

Committed = Callable[[Collection[Partition]], Awaitable[Mapping[Partition, int]]]
"""Asks the group for its durable offsets; a partition without one is missing in the answer."""


class Repairer:
    """Holds the leases of a repairer, one for each partition, and the writers under them.

    At any time one repairer writes in a partition; one that was overtaken is `Fenced`, and may take the lease again.
    """

    def __init__(
        self,
        database: Database,
        settings: IngestSettings,
        clock: Clock,
        metrics: Metrics,
        component: Component,
        new_session: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._steps = Steps(clock, metrics, component)
        self._new_session = new_session
        self._writers: dict[Partition, SeriesWriter] = {}

    async def writers(self, partitions: Collection[Partition]) -> Mapping[Partition, SeriesWriter]:
        """The writers of these partitions, under leases that are taken now where they are not held yet.

        What the group has committed is to be asked for after this has returned, never before.
        """
        for partition in partitions:
            if partition not in self._writers:
                self._writers[partition] = await self._take(partition)
        await self._burn_again()
        return {partition: self._writers[partition] for partition in partitions}

    def forget(self) -> None:
        """Forget all leases: somebody else has taken one of them."""
        self._writers.clear()

    async def _take(self, partition: Partition) -> SeriesWriter:
        since = self._clock.monotonic()
        take = partial(
            take_repair,
            self._database,
            *partition,
            self._new_session(),
            clock=self._clock,
            deadline_s=self._settings.answer_deadline_s,
        )
        return SeriesWriter(await self._steps.with_retry(take), since)

    async def _burn_again(self) -> None:
        """Burn the writers before again where that is due; without an answer it is due again."""
        due = due_to_burn(self._writers.values(), self._clock)
        if due is not None:
            try:
                deadline_s = self._settings.answer_deadline_s
                await due.burn_again(self._database, self._clock, deadline_s=deadline_s)
            except Retryable:
                return


@dataclass(frozen=True, slots=True)
class Repaired:
    """`written` rows were missing. Of `unproven` events nobody can say who writes their rows.

    Those came from records that the group has not committed, or from a partition that it does not read.
    """

    written: int
    unproven: Sequence[Document]


@dataclass(frozen=True, slots=True)
class RowRepair:
    """Puts back the rows of stored events; `repairer` holds the leases, `rows` looks and writes."""

    repairer: Repairer
    rows: SeriesRows
    routes: Routes
    committed: Committed
    clock: Clock

    async def missing(self, events: Sequence[Document]) -> int:
        """How many of these events have no row, without any lease: right while nobody else is at work on them."""
        stored = [_stored(event) for event in events if _has_row(event, self.routes)]
        return sum(map(len, (await self.rows.missing(BatchOutcome(redelivered=stored))).values()))

    async def unproven(self, events: Sequence[Document]) -> list[Document]:
        """Those of the events whose rows somebody else may still write; asked without any lease, for a dry run."""
        stored = [_stored(event) for event in events if _has_row(event, self.routes)]
        committed = await self.committed({each.record.partition for each in stored})
        return [each.document for each in stored if not _is_done(each, committed)]

    async def __call__(self, events: Sequence[Document]) -> Repaired:
        """Write the rows of these `course_events` documents that are missing. May run twice: the look-up decides.

        1. become the repairer of the partitions they came from  2. ask how far the group has committed  3. look
        which rows are missing, and write them. From the start when somebody else took a partition meanwhile.
        """
        return await self._until_ours(events)

    async def replace(self, events: Sequence[Document]) -> Repaired:
        """Delete all rows that these events have, and write one for each as it must be. May run twice.

        Only for a server that `deletes_rows`. Killed in between it leaves rows missing, which the next repair writes.
        """
        return await self._until_ours(events, anew=True)

    async def _until_ours(self, events: Sequence[Document], *, anew: bool = False) -> Repaired:
        """Two repairers without a pause would take a partition from each other again and again."""
        stored = [_stored(event) for event in events if _has_row(event, self.routes)]
        backoff = Backoff(self.clock, lambda: None)
        while True:
            try:
                return await self._repair(stored, anew=anew)
            except Fenced:
                self.repairer.forget()
            await backoff.wait(asyncio.Event())

    async def _repair(self, stored: Sequence[Stored], *, anew: bool) -> Repaired:
        partitions = {each.record.partition for each in stored}
        writers = await self.repairer.writers(partitions)  # 1
        committed = await self.committed(partitions)  # 2
        proven: list[Stored] = []
        unproven: list[Stored] = []
        for each in stored:
            (proven if _is_done(each, committed) else unproven).append(each)
        if anew:
            await delete_rows(self.rows.database, [interaction_row(each.document) for each in proven])
        batch = Batch((), {}, 0, self.clock.monotonic(), self.clock.now())
        written = await self.rows.write(batch, writers, BatchOutcome(redelivered=proven))  # 3
        return Repaired(written, [each.document for each in unproven])


def row_repair(
    database: Database,
    routes: Routes,
    settings: IngestSettings,
    clock: Clock,
    metrics: Metrics,
    component: Component,
    *,
    committed: Committed,
    new_session: Callable[[], UUID],
) -> RowRepair:
    """A repair of rows, with a repairer of its own, which takes its leases when it is first asked to write."""
    repairer = Repairer(database, settings, clock, metrics, component, new_session)
    rows = SeriesRows(database, routes, settings, clock, Steps(clock, metrics, component))
    return RowRepair(repairer, rows, routes, committed, clock)


def _is_done(stored: Stored, committed: Mapping[Partition, int]) -> bool:
    """The group has committed the record: its partition's owner writes the row no more."""
    return stored.record.source.offset < committed.get(stored.record.partition, 0)


def _has_row(event: Document, routes: Routes) -> bool:
    """Whether ingest writes a row of it: not of a void, nor of a type or a topic that goes without."""
    source = event["metadata"]["source"]
    route = None if source is None else routes.get(source["topic"])
    return route is not None and route.time_series and event["event_type"] not in WITHOUT_ROW


def _stored(event: Document) -> Stored:
    """The event as ingest has it, with what is left of its record."""
    return Stored(Record(source_of(event["metadata"]["source"]), None, None, None), event)
