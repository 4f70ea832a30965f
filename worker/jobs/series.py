"""Rows of the time series that a check found wrong: written again where that is ours to do, named where it is not."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from bson import ObjectId

from worker.chunks import chunks
from worker.contract.identity import parse_stream_id
from worker.ingest.options import IngestOptions
from worker.ingest.repair import RowRepair, row_repair
from worker.ingest.row_removal import delete_rows, deletes_rows
from worker.jobs.context import JobContext
from worker.kafka.log_reader import LogReader
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.telemetry.health import Health
from worker.verify.findings import Fault, Finding

_EVENTS_AT_ONCE = 1_000

NO_DELETES = "MongoDB before 7.0 cannot delete a single row of a time series"
NOT_COMMITTED = (
    "its record is not below the offset that the consumer group has committed: its owner writes the row"
)
NO_TOPIC = "its event came from no topic whose events have rows"
LAST_TRACE = "no stored event has its id: the row may be the last trace of one"
NO_IDENTITY = "whose row it is cannot be told from it"


@dataclass(frozen=True, slots=True)
class Named:
    """A finding that was left as it is, and why."""

    finding: Finding
    reason: str


@dataclass(slots=True)
class Mended:
    """What a repair did: numbers by name, and what it left."""

    numbers: Counter[str] = field(default_factory=Counter)
    left: list[Named] = field(default_factory=list)

    def add(self, other: "Mended") -> None:
        self.numbers.update(other.numbers)
        self.left += other.left


@dataclass(frozen=True, slots=True)
class SeriesMending:
    """Mends rows of the time series; may run twice, and beside workers. `deletes`: the server can delete single rows.

    `dry`: nothing is written; a row counts as mended that would be.
    """

    database: Database
    repair: RowRepair
    deletes: bool
    dry: bool

    @classmethod
    @asynccontextmanager
    async def opened(cls, context: JobContext) -> AsyncIterator["SeriesMending"]:
        """With a connection to Kafka, which says what the group has committed. Raises Retryable while it is away."""
        settings, clock = context.settings, context.clock
        options = IngestOptions.of(settings.kafka, settings.ingest)
        async with LogReader(options.consumer, clock) as log:
            repair = row_repair(
                context.database,
                options.routes,
                settings.ingest,
                clock,
                context.metrics,
                Health(clock).component("repair"),
                committed=log.committed,
                new_session=uuid4,
            )
            yield cls(context.database, repair, await deletes_rows(context.database), context.dry_run)

    async def __call__(self, findings: Iterable[Finding]) -> Mended:
        """See to rows that are missing, then to those that are doubled or altered, then to those of no event here."""
        by_fault: dict[Fault, list[Finding]] = {}
        for finding in findings:
            by_fault.setdefault(finding.fault, []).append(finding)
        mended = await self._written(by_fault.get(Fault.MISSING, ()), "inserted")
        wrong = [*by_fault.get(Fault.DOUBLED, ()), *by_fault.get(Fault.DIFFERENT, ())]
        strays = [*by_fault.get(Fault.EXTRA, ()), *by_fault.get(Fault.UNREADABLE, ())]
        if self.deletes:
            mended.add(await self._written(wrong, "replaced"))
            mended.add(await self._removed(strays))
        else:
            mended.left += [Named(each, NO_DELETES) for each in [*wrong, *strays]]
        return mended

    async def _written(self, findings: Sequence[Finding], done: str) -> Mended:
        mended = Mended()
        for some in chunks(findings, _EVENTS_AT_ONCE):
            about = {_event_of(finding): finding for finding in some}
            events = await self._events(about)
            ours = [each for each in events.values() if self._has_topic(each)]
            unproven = await self._unproven(ours, anew=done == "replaced")
            mended.numbers[done] += len(ours) - len(unproven)
            for identity, finding in about.items():
                if identity in unproven:
                    mended.left.append(Named(finding, NOT_COMMITTED))
                elif identity not in events or not self._has_topic(events[identity]):
                    mended.left.append(Named(finding, NO_TOPIC))
        return mended

    async def _unproven(self, events: Sequence[Document], *, anew: bool) -> set[object]:
        """Writes the rows of these events, and returns those events whose rows are another's to write."""
        if self.dry:
            return {each["_id"] for each in await self.repair.unproven(events)}
        repaired = await (self.repair.replace(events) if anew else self.repair(events))
        return {each["_id"] for each in repaired.unproven}

    async def _removed(self, findings: Sequence[Finding]) -> Mended:
        """Rows under a learner or course that is not their event's: deleted where the event is stored elsewhere."""
        mended = Mended()
        for some in chunks(findings, _EVENTS_AT_ONCE):
            known = await self._events({_event_of(finding): finding for finding in some})
            rows = []
            for finding in some:
                identity, entities = _event_of(finding), parse_stream_id(finding.subject)
                if identity is None or entities is None:
                    mended.left.append(Named(finding, NO_IDENTITY))
                elif identity not in known:
                    mended.left.append(Named(finding, LAST_TRACE))
                else:
                    rows.append({"_id": identity, "metadata": entities})
            if not self.dry:
                await delete_rows(self.database, rows)
            mended.numbers["removed"] += len(rows)
        return mended

    async def _events(self, wanted: Mapping[Any, Finding]) -> dict[object, Document]:
        ids = [each for each in wanted if isinstance(each, UUID)]
        found = await reading.find(self.database.course_events, {"_id": {"$in": ids}})
        return {event["_id"]: event for event in found.documents}

    def _has_topic(self, event: Document) -> bool:
        source = event["metadata"]["source"]
        route = self.repair.routes.get(source["topic"]) if source else None
        return route is not None and route.time_series


def _event_of(finding: Finding) -> UUID | ObjectId | str | None:
    """The `_id` of the row a finding is about, which is that of its event."""
    identity = finding.about[1] if finding.about else None
    return identity if isinstance(identity, UUID | ObjectId | str) else None
