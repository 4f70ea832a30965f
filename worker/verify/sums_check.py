"""Checks sum projections: what was counted of each document, and what its sums show."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from bson import ObjectId

from projections.kinds import StreamProjection, Sum, SumProjection
from worker.chunks import chunks
from worker.storage.database import Collection, Database, Document
from worker.storage.work_items import fold_item_id, fold_type
from worker.verify import snapshots
from worker.verify.findings import CheckResult, Finding, Kind, Run
from worker.verify.leases_check import releases_ahead
from worker.verify.queue_check import open_items
from worker.verify.reading import absent, hashable, pages
from worker.verify.snapshots import Reads, Snapshot, Snapshots
from worker.verify.sum_audit import Pair, check_counted, check_shown

P = TypeVar("P", bound=Pair)
Checks = list[tuple[Any, Callable[[], CheckResult]]]
"""By key what checks the document."""

# A document the platform has just written shows its sums within 5 s; a busy machine may take longer.
SECOND_LOOK_S = 10.0
# Documents that are looked at again, of those that wait for long; enough to tell whether anybody counts.
_OVERDUE_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class CountedCheck(Generic[P]):
    """What was counted of each document: `read` gives the documents of these ids with it, each as a `pair`."""

    run: Run
    projection: SumProjection
    snapshots: Snapshots
    pair: type[P]
    read: Reads[list[P]]
    check: Callable[[P, int], CheckResult]
    overdue: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    """Documents that have waited for long, with their revision and that of what was counted."""

    async def first_look(self) -> None:
        """Check every document, and everything that was counted of none."""
        database, tally = self.run.database, self.run.tally
        counts = tally.by_projection[self.projection.name]
        ahead = await releases_ahead(database, "counts", [each.version for each in database.catalogue.sums])
        records = database.collection(source_of(database, self.projection).target.collection)
        counted = database.collection(self.projection.counted.collection)

        async def without_record(snapshot: Snapshot, ids: Sequence[Any]) -> list[P]:
            found = await snapshot.by_id(counted, await absent(records, ids, snapshot.session), None)
            return [self.pair(None, each) for each in found.values()]

        for collection, read in ((records, self.read), (counted, without_record)):
            async for page in self.snapshots.pages(collection, read):
                counts.documents += sum(pair.counted is not None for pair in page)
                counts.quarantined += sum(pair.quarantined for pair in page)
                for pair in (each for each in page if not each.quarantined):
                    with tally.guard(collection.name, pair.identity):
                        self._take(pair, self.check(pair, self.projection.version + ahead))

    def _take(self, pair: P, result: CheckResult) -> None:
        tally, grace = self.run.tally, self.run.grace
        counts = tally.by_projection[self.projection.name]
        counts.behind += result.waiting is not None
        counts.other_version += result.other_version
        tally.report_result(result, grace)
        waits = result.waiting is not None and grace.is_overdue(result.waiting.since)
        if waits and len(self.overdue) < _OVERDUE_KEPT and isinstance(pair.identity, ObjectId):
            self.overdue[pair.identity] = pair.revisions

    async def second_look(self) -> None:
        """What still waits is a finding, unless some of it was counted meanwhile: then the rest is about to be."""
        waiting: list[Finding | None] = []
        for some in chunks(list(self.overdue), snapshots.PAGE):
            for pair in await self.snapshots.read(self.read, some):
                if pair.revisions != self.overdue[(pair.record or {}).get("_id")]:
                    return
                with self.run.tally.guard(self.projection.counted.collection, pair.identity):
                    waiting.append(self.check(pair, 0).waiting)
        self.run.tally.report(waiting)


@dataclass(frozen=True, slots=True)
class Shown:
    """Documents of one collection that show sums: their keys in pages, and what checks each of these keys."""

    collection: str
    keys: AsyncIterator[list[Any]]
    read: Reads[Checks]


async def check_counted_and_shown(
    run: Run, counted: CountedCheck[P], shown: Callable[[], Awaitable[Sequence[Shown]]]
) -> None:
    """Put into the run's tally what is wrong. Only reads.

    1. what was counted  2. what the sums show  3. a second look at what seems wrong, with `shown` asked anew. What is
    known to be refused by the server is counted as that.
    """
    tally, snapshots = run.tally, counted.snapshots

    async def look(at: Shown, keys: Sequence[Any]) -> AsyncIterator[tuple[Any, CheckResult]]:
        for key, check in await snapshots.read(at.read, keys):
            with tally.guard(at.collection, key):
                result = check()
                if result.findings or result.waiting:
                    yield key, result

    await counted.first_look()  # 1
    suspects: list[tuple[int, Any]] = []
    late = False  # something follows in a transaction of its own: it is given the time
    for number, each in enumerate(await shown()):  # 2
        async for keys in each.keys:
            async for key, result in look(each, keys):
                suspects.append((number, key))
                late |= result.follows
    await _give_time(run, late=late, wrong=bool(suspects or counted.overdue))
    await counted.second_look()  # 3
    again = await shown() if suspects else []
    for number, suspect in suspects:
        async for key, result in look(again[number], [suspect]):
            if await snapshots.refused(again[number].collection, key):
                tally.counts["statistics_refused"] += 1
            else:
                waits = result.waiting is not None and result.waiting.kind == Kind.STATISTICS
                tally.counts["statistics_missing"] += waits
                tally.report_result(result, run.grace, twice=True)


async def _give_time(run: Run, *, late: bool, wrong: bool) -> None:
    """Before the second look: what follows by itself gets it always, anything else while somebody is at work."""
    if late or (wrong and not run.grace.quiescent):
        await run.clock.sleep(SECOND_LOOK_S)


def source_of(database: Database, projection: SumProjection) -> StreamProjection:
    """The projection whose documents are counted."""
    return next(each for each in database.catalogue.streams if each.name == projection.source)


async def check_sum(run: Run, projection: SumProjection) -> None:
    """Put into the run's tally what is wrong with a sum projection that is nothing but that. Only reads."""
    async with Snapshots.opened(run) as snapshots:
        check = _SumCheck(run, projection, snapshots)
        counted = CountedCheck(run, projection, snapshots, Pair, check.pairs, check.check)
        await check_counted_and_shown(run, counted, check.shown)


@dataclass(frozen=True, slots=True)
class _SumCheck:
    run: Run
    projection: SumProjection
    snapshots: Snapshots

    async def pairs(self, snapshot: Snapshot, ids: Sequence[Any]) -> list[Pair]:
        """The documents of these ids, each with what was counted of it, or whether it is in quarantine."""
        database, name = self.run.database, self.projection.name
        source = source_of(database, self.projection)
        paths = dict.fromkeys((*source.paths, "rev"), 1)
        records = await snapshot.by_id(database.collection(source.target.collection), ids, paths)
        if source.yields_to is not None:  # the platform's own are nobody's to count
            records = {key: each for key, each in records.items() if "stream_id" in each}
        counted = await snapshot.by_id(self._counted, records, None)
        items = {key: fold_item_id(key, name) for key in records}
        quarantined = await open_items(database, fold_type(name), list(items.values()), snapshot.session)
        return [Pair(record, counted.get(key), items[key] in quarantined) for key, record in records.items()]

    def check(self, pair: Pair, served: int) -> CheckResult:
        """Whether what was counted follows from the document."""
        keys = [total.key for total in self.projection.sums]

        def expected(record: Mapping[str, Any]) -> Document:
            return {"counted": dict(self.projection.vector(record)), **{key: record[key] for key in keys}}

        return check_counted(self.projection, pair, served, keys, expected)

    async def shown(self) -> list[Shown]:
        """The documents of every sum."""
        return [
            Shown(total.collection, self._keys(total), partial(self._shown, total=total))
            for total in self.projection.sums
        ]

    async def _keys(self, total: Sum) -> AsyncIterator[list[Any]]:
        """Keys of all documents that show the sum; and of those absent, where they are the worker's own."""
        documents = self.run.database.collection(total.collection)
        async for ids in self.snapshots.ids(documents, snapshots.PAGE):
            yield ids
        if total.collection in {target.collection for target in self.projection.shows}:
            async for page in pages(self._counted, {}, {total.key: 1}):
                if keys := await absent(documents, [row.get(total.key) for row in page.documents]):
                    yield keys

    async def _shown(self, snapshot: Snapshot, ids: Sequence[Any], total: Sum) -> Checks:
        """Checks the document of each key, if it is there, against what the vectors add up to."""
        keys = {hashable(key): key for key in ids}
        documents = await snapshot.by_id(self.run.database.collection(total.collection), ids, None)
        sums: dict[Any, Counter[str]] = {name: Counter() for name in keys}
        wanted, paths = {total.key: {"$in": list(ids)}}, {total.key: 1, "counted": 1}
        async for page in pages(self._counted, wanted, paths, session=snapshot.session):
            for row in page.documents:
                vector = row.get("counted")
                known = vector if isinstance(vector, Mapping) else {}
                numbers = {name: each for name, each in known.items() if isinstance(each, int)}
                sums[hashable(row[total.key])].update(numbers)
        nothing = dict.fromkeys({name for added in sums.values() for name in added}, 0)
        if not nothing:
            return []
        check = partial(check_shown, self.projection, total)
        return [
            (key, partial(check, key, documents.get(name), nothing | sums[name]))
            for name, key in keys.items()
        ]

    @property
    def _counted(self) -> Collection:
        return self.run.database.collection(self.projection.counted.collection)
