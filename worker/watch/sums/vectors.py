"""A sum projection as its value declares it: source documents become vectors, and the vectors of one key a sum.

What of each document has been counted is replaced in the transaction that sums the keys concerned, so that at any
snapshot a sum is the sum over all that is counted. `counts` has more to do and an executor of its own (`counting`).
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import structlog
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from projections.counts.projection import COUNTS
from projections.kinds import StreamProjection, Sum, SumProjection
from worker.chunks import chunks
from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.quarantine import Quarantined, put_items, quarantine
from worker.storage.transactions import Session
from worker.storage.work_items import fold_item_id, fold_type
from worker.telemetry.metrics import Applied, Metrics, Mode
from worker.watch.frozen import Frozen
from worker.watch.sums.catch_up import pages
from worker.watch.sums.committer import Committer
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.reading import Allowance, TooLarge

log = structlog.get_logger(__name__)

# Larger transactions are hardly faster.
_DOCUMENTS_PER_TRANSACTION = 500


def vector_sums(
    database: Database,
    committer: Committer,
    metrics: Metrics,
    *,
    code_version: str,
) -> dict[str, "VectorSums"]:
    """Those of the catalogue but `counts`, by name."""
    sources = {each.name: each for each in database.catalogue.streams}
    return {
        each.name: VectorSums(
            database,
            each,
            sources[each.source],
            committer,
            metrics,
            code_version=code_version,
        )
        for each in database.catalogue.sums
        if each.name != COUNTS.name
    }


class VectorSums:
    """Keeps one sum projection; safe beside any number of others like it: every transaction writes one marker.

    In `counted` stand, by the `_id` of the source document, `source_rev` (the revision it was taken from),
    `counts_version`, `counted` (the vector) and the keys of the sums.
    """

    def __init__(
        self,
        database: Database,
        projection: SumProjection,
        source: StreamProjection,
        committer: Committer,
        metrics: Metrics,
        *,
        code_version: str,
    ) -> None:
        self._database = database
        self._projection = projection
        self._source = source
        self._documents = database.collection(source.target.collection)
        self._counted = database.collection(projection.counted.collection)
        self._own = {target.collection for target in projection.shows}
        self._markers = WriteConflictMarkers(database)
        self._committer = committer
        self._metrics = metrics
        self._code_version = code_version
        self._frozen = Frozen(projection.name, projection.version, committer.clock, metrics)

    @property
    def source(self) -> str:
        """The collection whose documents are counted."""
        return self._documents.name

    @property
    def external(self) -> frozenset[str]:
        """Collections of the platform that show sums: a document that appears there has to be summed."""
        return frozenset(each.collection for each in self._projection.sums) - self._own

    async def count(self, identities: Collection[Any], *, mode: Mode = Mode.LIVE) -> dict[Any, str]:
        """Return when each of these source documents is counted, or quarantined; returns why of the latter.

        May run twice, at the same time, anywhere: the transactions of one projection follow each other.
        """
        failures: dict[Any, str] = {}
        for some in chunks(identities, _DOCUMENTS_PER_TRANSACTION):
            failures |= await self._count(some, mode)
        return failures

    async def show(self, collection: str, keys: Collection[Any]) -> None:
        """Write the sums of these keys of a collection: their documents have appeared. May run twice."""
        for some in chunks(keys, _DOCUMENTS_PER_TRANSACTION):
            concerned = {each: set(some) for each in self._projection.sums if each.collection == collection}
            await self._committer.run(partial(self._show_again, concerned))

    async def missed(self) -> AsyncGenerator[list[Any]]:
        """Pages of source documents that are not counted as they stand, or are gone."""
        async for page in pages(self._documents, "rev"):
            paths = {"source_rev": 1, "counts_version": 1}
            known = await reading.find(self._counted, {"_id": {"$in": list(page)}}, paths)
            current = {
                row["_id"]
                for row in known.documents
                if row.get("counts_version", 0) >= self._projection.version
                and page[row["_id"]] == (row.get("source_rev"),)
            }
            yield [identity for identity in page if identity not in current]
        async for page in pages(self._counted):
            there = await reading.find(self._documents, {"_id": {"$in": list(page)}}, {"_id": 1})
            present = {row["_id"] for row in there.documents} | {one.id for one in there.unreadable}
            yield [identity for identity in page if identity not in present]

    async def unshown(self) -> AsyncGenerator[tuple[str, list[Any]]]:
        """Pages of the platform's documents that show sums."""
        for name in sorted(self.external):
            async for page in pages(self._database.collection(name)):
                yield name, list(page)

    async def _count(self, identities: list[Any], mode: Mode) -> dict[Any, str]:
        try:
            failures = await self._committer.run(
                partial(self._transact, identities, Allowance(bounded=len(identities) > 1), mode)
            )
        except (TooLarge, Refused, BulkWriteError):
            if len(identities) > 1:
                middle = len(identities) // 2
                return {
                    **await self._count(identities[:middle], mode),
                    **await self._count(identities[middle:], mode),
                }
            failures = {identities[0]: "the server refuses what is counted of it, or its sum"}
            await put_items(self._database.analytics_queue, self._items(failures))
            applied = self._metrics.projection_events_applied_total
            applied.labels(self._projection.name, mode, Applied.FAILED).inc()
        for identity, reason in failures.items():
            log.warning(f"{self._projection.name}_quarantined", id=str(identity), reason=reason)
        return failures

    async def _transact(
        self, identities: list[Any], allowance: Allowance, mode: Mode, session: Session
    ) -> dict[Any, str]:
        """One transaction.

        1. write the marker  2. read documents, and what is counted of them  3. write what is counted now  4. sum the
        keys concerned  5. quarantine what makes no vector
        """
        await self._markers.touch("sum", [self._projection.name], session)  # 1
        query, paths = {"_id": {"$in": identities}}, dict.fromkeys((*self._source.paths, "rev"), 1)
        found = await allowance.find(self._documents, query, paths, session, asked=len(identities))  # 2
        known = await allowance.find(self._counted, query, {}, session, asked=len(identities))
        before = {row["_id"]: row for row in known.documents}
        newer = {i for i, row in before.items() if row.get("counts_version", 0) > self._projection.version}
        taken = found.through(self._counted_of)
        rows = {row["_id"]: row for row in taken.values if row is not None and row["_id"] not in newer}
        failures = {one.id: one.reason for one in taken.unreadable}
        waiting = {d["_id"] for d in found.documents} - rows.keys()
        gone = before.keys() - rows.keys() - newer - waiting - failures.keys()
        changed = {i: row for i, row in rows.items() if row != before.get(i)}
        writes = [ReplaceOne({"_id": i}, row, upsert=True) for i, row in changed.items()]
        writes += [DeleteOne({"_id": identity}) for identity in gone]  # type: ignore[misc]
        if writes:
            with translated():
                await self._counted.bulk_write(writes, session=session)  # 3
        moved = [*changed.values(), *(before[i] for i in (changed.keys() | gone) & before.keys())]
        names = {name for row in moved for name in row["counted"]}
        keys = {each: {row[each.key] for row in moved} for each in self._projection.sums}
        await self._show(keys, names, session)  # 4
        await self._set_quarantine(failures, session)  # 5
        applied = self._metrics.projection_events_applied_total
        applied.labels(self._projection.name, mode, Applied.APPLIED).inc(len(changed))
        applied.labels(self._projection.name, mode, Applied.FAILED).inc(len(failures))
        self._frozen.observe(newer, identities)
        return failures

    def _counted_of(self, document: Document) -> Document | None:
        """What is counted of a document; None for one of an older fold, which is folded again and comes back."""
        if document["projection_version"] < self._source.version:
            return None
        vector = dict(self._projection.vector(document))
        if any(not isinstance(value, int) or isinstance(value, bool) for value in vector.values()):
            raise TypeError("a vector of something else than integers")
        return {
            "_id": document["_id"],
            "source_rev": document["rev"],
            "counts_version": self._projection.version,
            "counted": vector,
            **{each.key: document[each.key] for each in self._projection.sums},
        }

    async def _show_again(self, concerned: Mapping[Sum, set[Any]], session: Session) -> None:
        """`_show` by itself, after or before every transaction that counts: never beside one."""
        await self._markers.touch("sum", [self._projection.name], session)
        await self._show(concerned, (), session)

    async def _show(self, concerned: Mapping[Sum, set[Any]], names: Iterable[str], session: Session) -> None:
        """Write the sums of these keys: over all that is counted, so that no history can make them wrong."""
        for each, keys in concerned.items():
            sums = await self._sums(each.key, keys, session)
            writes = [
                UpdateOne(
                    {"_id": key},
                    {"$set": each.shown({**dict.fromkeys(names, 0), **sums.get(key, {})})},
                    upsert=each.collection in self._own,
                )
                for key in keys
                if names or key in sums
            ]
            if writes:
                with translated():
                    await self._database.collection(each.collection).bulk_write(writes, session=session)

    async def _sums(self, key: str, keys: Iterable[Any], session: Session) -> dict[Any, dict[str, int]]:
        pipeline: list[Document] = [
            {"$match": {key: {"$in": list(keys)}}},
            {"$project": {"key": f"${key}", "part": {"$objectToArray": "$counted"}}},
            {"$unwind": "$part"},
            {"$group": {"_id": {"key": "$key", "name": "$part.k"}, "sum": {"$sum": "$part.v"}}},
        ]
        sums: dict[Any, dict[str, int]] = defaultdict(dict)
        found = await reading.aggregate(self._counted, pipeline, session=session)
        for row in found.documents:
            sums[row["_id"]["key"]][row["_id"]["name"]] = row["sum"]
        return sums

    async def _set_quarantine(self, failures: Mapping[Any, str], session: Session) -> None:
        if failures:
            with translated():
                await self._database.analytics_queue.bulk_write(self._items(failures), session=session)

    def _items(self, failures: Mapping[Any, str]) -> list[UpdateOne]:
        return [
            quarantine(
                Quarantined(
                    item_id=fold_item_id(identity, self._projection.name),
                    event_type=fold_type(self._projection.name),
                    error_class="Unreadable",
                    message=reason,
                    data={"collection": self._documents.name, "id": identity},
                ),
                self._code_version,
            )
            for identity, reason in failures.items()
        ]
