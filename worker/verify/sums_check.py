"""Checks sum projections: what was counted of each document, and what its sums show."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from bson import ObjectId

from projections.kinds import StreamProjection, Sum, SumProjection
from worker.chunks import chunks
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.transactions import Transactions
from worker.storage.work_items import fold_item_id, fold_type
from worker.timing import Clock
from worker.verify import snapshots
from worker.verify.findings import CheckResult, Finding, Grace, Tally
from worker.verify.leases_check import releases_ahead
from worker.verify.queue_check import open_items
from worker.verify.reading import pages
from worker.verify.snapshots import S, Snapshot, Snapshots, hashable
from worker.verify.sum_audit import Pair, check_counted, check_shown

P = TypeVar("P", bound=Pair)

# A document the platform has just written shows its sums within 5 s; a busy machine may take longer.
SECOND_LOOK_S = 10.0
# Documents that are looked at again, of those that wait for long; enough to tell whether anybody counts.
_OVERDUE_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class CountedCheck(Generic[S, P]):
    """What was counted of each document; `read` gives the documents of an id with it, `uncovered` what has none."""

    database: Database
    projection: SumProjection
    snapshots: Snapshots[S]
    tally: Tally
    grace: Grace
    read: Callable[..., Awaitable[list[P]]]
    uncovered: Callable[..., Awaitable[list[P]]]
    check: Callable[[P, int], CheckResult]
    overdue: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    """Documents that have waited for long, with their revision and that of what was counted."""

    async def run(self) -> None:
        """Check every document, and everything that was counted of none."""
        projection, counts = self.projection, self.tally.by_projection[self.projection.name]
        versions = [each.version for each in self.database.catalogue.sums]
        ahead = await releases_ahead(self.database, "counts", versions)
        source = source_of(self.database, projection).target.collection
        for collection, read in ((source, self.read), (projection.counted.collection, self.uncovered)):
            async for page in self.snapshots.pages(self.database.collection(collection), read):
                counts.documents += sum(pair.counted is not None for pair in page)
                counts.quarantined += sum(pair.quarantined for pair in page)
                for pair in (each for each in page if not each.quarantined):
                    with self.tally.guard(collection, pair.identity):
                        self._take(pair, self.check(pair, projection.version + ahead))

    def _take(self, pair: P, result: CheckResult) -> None:
        counts = self.tally.by_projection[self.projection.name]
        counts.behind += result.waiting is not None
        counts.other_version += result.other_version
        self.tally.report_result(result, self.grace)
        waits = result.waiting is not None and self.grace.is_overdue(result.waiting.since)
        if waits and len(self.overdue) < _OVERDUE_KEPT and isinstance(pair.identity, ObjectId):
            self.overdue[pair.identity] = pair.revisions

    async def second_look(self) -> None:
        """What still waits is a finding, unless some of it was counted meanwhile: then the rest is about to be."""
        waiting: list[Finding | None] = []
        for some in chunks(list(self.overdue), snapshots.PAGE):
            for pair in await self.snapshots.read(partial(self.read, ids=some)):
                if pair.revisions != self.overdue[(pair.record or {}).get("_id")]:
                    return
                with self.tally.guard(self.projection.counted.collection, pair.identity):
                    waiting.append(self.check(pair, 0).waiting)
        self.tally.report(waiting)


def source_of(database: Database, projection: SumProjection) -> StreamProjection:
    """The projection whose documents are counted."""
    return next(each for each in database.catalogue.streams if each.name == projection.source)


async def check_sum(
    database: Database, projection: SumProjection, tally: Tally, clock: Clock, grace: Grace
) -> None:
    """Put into `tally` what is wrong. Only reads.

    1. what was counted  2. what the sums show  3. a second look at what seems wrong
    """

    async def unreadable(document: Any) -> None:
        tally.unreadable([document])

    transactions = Transactions(database.client)
    shown = Snapshots(database, tally, partial(SumSnapshot, projection=projection), unreadable, transactions)
    counted = CountedCheck(
        database,
        projection,
        shown,
        tally,
        grace,
        SumSnapshot.pairs,
        SumSnapshot.uncovered,
        partial(_check, projection),
    )
    suspects: list[tuple[Sum, Any]] = []

    async def look(total: Sum, ids: list[Any]) -> AsyncIterator[tuple[Any, CheckResult]]:
        for identity, document, added in await shown.read(partial(SumSnapshot.shown, total=total, ids=ids)):
            with tally.guard(total.collection, identity):
                yield identity, check_shown(projection, total, identity, document, added)

    try:
        await counted.run()  # 1
        for total in projection.sums:  # 2
            async for ids in _keys(database, projection, total, shown):
                suspects += [(total, key) async for key, each in look(total, ids) if each != CheckResult()]
        if (suspects or counted.overdue) and not grace.quiescent:
            await clock.sleep(SECOND_LOOK_S)
        await counted.second_look()  # 3
        for total, key in suspects:
            async for _, result in look(total, [key]):
                tally.report_result(result, grace, twice=True)
    finally:
        await transactions.close()


async def _keys(
    database: Database, projection: SumProjection, total: Sum, shown: Snapshots["SumSnapshot"]
) -> AsyncIterator[list[Any]]:
    """Keys of all documents that show the sum; and of those that are absent, where they are the worker's own."""
    documents = database.collection(total.collection)
    async for ids in shown.ids(documents, snapshots.PAGE):
        yield ids
    if total.collection not in {target.collection for target in projection.shows}:
        return
    async for page in pages(database.collection(projection.counted.collection), {}, {total.key: 1}):
        named = {hashable(row.get(total.key)): row.get(total.key) for row in page.documents}
        found = await reading.find(documents, {"_id": {"$in": list(named.values())}}, {"_id": 1})
        known = {hashable(each["_id"]) for each in found.documents}
        if absent := [key for name, key in named.items() if name not in known]:
            yield absent


def _check(projection: SumProjection, pair: Pair, served: int) -> CheckResult:
    keys = [total.key for total in projection.sums]

    def expected(record: Mapping[str, Any]) -> Document:
        return {"counted": dict(projection.vector(record)), **{key: record[key] for key in keys}}

    return check_counted(projection, pair, served, keys, expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumSnapshot(Snapshot):
    """What one transaction shows of one sum projection."""

    projection: SumProjection

    async def pairs(self, ids: Sequence[Any]) -> list[Pair]:
        """The documents of these ids, each with what was counted of it, or whether it is in quarantine."""
        name, source = self.projection.name, source_of(self.database, self.projection)
        documents, paths = self.database.collection(source.target.collection), (*source.paths, "rev")
        records = await self.by_id(documents, ids, dict.fromkeys(paths, 1))
        counted = await self.by_id(self._counted, records, None)
        items = [fold_item_id(identity, name) for identity in records]
        quarantined = await open_items(self.database, fold_type(name), items, self.session)
        return [
            Pair(record, counted.get(identity), fold_item_id(identity, name) in quarantined)
            for identity, record in records.items()
        ]

    async def uncovered(self, ids: Sequence[Any]) -> list[Pair]:
        """Those of what was counted whose documents are not there."""
        source = source_of(self.database, self.projection).target.collection
        counted = await self.by_id(self._counted, ids, None)
        records = await self.by_id(self.database.collection(source), counted, {"_id": 1})
        return [Pair(None, each) for identity, each in counted.items() if identity not in records]

    async def shown(
        self, total: Sum, ids: Sequence[Any]
    ) -> list[tuple[Any, Document | None, Mapping[str, int]]]:
        """By key the document that shows the sum, None where it is absent, and what the vectors add up to."""
        documents = await self.by_id(self.database.collection(total.collection), ids, None)
        sums: dict[Any, Counter[str]] = {hashable(key): Counter() for key in ids}
        wanted, paths = {total.key: {"$in": list(ids)}}, {total.key: 1, "counted": 1}
        async for page in pages(self._counted, wanted, paths, session=self.session):
            for row in page.documents:
                vector = row.get("counted")
                known = vector if isinstance(vector, Mapping) else {}
                numbers = {name: each for name, each in known.items() if isinstance(each, int)}
                sums[hashable(row[total.key])].update(numbers)
        nothing = dict.fromkeys({name for added in sums.values() for name in added}, 0)
        return [(key, documents.get(hashable(key)), nothing | sums[hashable(key)]) for key in ids if nothing]

    @property
    def _counted(self) -> Any:
        return self.database.collection(self.projection.counted.collection)
