"""A sum projection as its value declares it: source documents become vectors, and the vectors of one key a sum.

The transactions of one projection follow each other: each writes its marker. A sum is taken over all that is counted,
so that no history can make it wrong.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any
from uuid import UUID

from pymongo import DeleteOne, UpdateOne

from projections.counts import Step
from projections.kinds import StreamProjection, SumProjection
from worker.storage import reading
from worker.storage.database import Document
from worker.watch.sums.attempt import Attempt, Keys, Target, Write, ids_of
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import is_newer
from worker.watch.sums.quarantine import Quarantine
from worker.watch.sums.runner import Dependencies
from worker.watch.sums.showing import Counting

SOURCE = "document"

# A few times as many in a backlog (see `Counter`).
_PER_TRANSACTION = 300


class DeclaredSums:
    """The `Showing` of a projection that says with its value all there is to it.

    `doubting`: it keeps the documents that show its sums as well where they are its own, which nobody else writes.

    In `counted` stand, by the `_id` of the source document, `source_rev` (the revision it was taken from),
    `counts_version`, `counted` (the vector) and the keys of the sums.
    """

    def __init__(
        self,
        given: Dependencies,
        projection: SumProjection,
        source: StreamProjection,
        *,
        doubting: bool = False,
    ) -> None:
        self.projection = projection
        self._own = {target.collection for target in projection.shows}
        self._doubting = doubting
        kept = {each.collection for each in projection.sums} - (set() if doubting else self._own)
        self.kinds: Mapping[str, str] = {
            SOURCE: source.target.collection,
            **{name: name for name in kept},
        }
        self.at_once: Collection[str] = ()
        self.steady: Collection[str] = ()
        self.most: Mapping[str, int] = dict.fromkeys(self.kinds, _PER_TRANSACTION)
        self.paths: Mapping[str, Any] = dict.fromkeys((*source.paths, "rev"), 1)
        self.counted_paths: Mapping[str, Any] = {}
        self.current: Mapping[str, str] = {"rev": "source_rev"}
        self.quarantine = Quarantine(given, projection.name, self.kinds, by_kind=False)
        self._source = source
        self._database = given.database
        self._counted = given.database.collection(projection.counted.collection)
        self._markers = WriteConflictMarkers(given.database)

    def step(self, record: Document, known: Document | None) -> Step | None:
        """None as well for a document of an older fold, which is folded again and comes back."""
        if self._source.yields_to is not None and "stream_id" not in record:
            return None  # the platform's own
        before = known or {}
        if record["projection_version"] < self._source.version or is_newer(before, self.projection.version):
            return None
        vector = dict(self.projection.vector(record))
        if any(not isinstance(value, int) or isinstance(value, bool) for value in vector.values()):
            raise TypeError("a vector of something else than integers")
        counted = {
            "_id": record["_id"],
            "source_rev": record["rev"],
            "counts_version": self.projection.version,
            "counted": vector,
            **{each.key: record[each.key] for each in self.projection.sums},
        }
        return None if counted == known else Step(counted)

    async def begin(self, attempt: Attempt) -> None:
        """A document of the platform that appears between two transactions is not missed by both."""
        await self._markers.touch("sum", [self.projection.name], attempt.session)

    async def show(self, counting: Counting, attempt: Attempt) -> None:
        """1. forget what is gone  2. sum the keys concerned  3. leave out what the server refuses."""
        gone = self._gone(counting)
        forgotten: list[tuple[Target | None, Write]] = [(None, DeleteOne({"_id": each})) for each in gone]
        await attempt.write(self._counted, forgotten)  # 1
        changed = {step.projection["_id"]: step.projection for step in counting.steps}
        moved = [
            *changed.values(),
            *(counting.known[each] for each in counting.known.keys() & {*changed, *gone}),
        ]
        names = {name for row in moved for name in row["counted"]}
        tried = attempt.keys - attempt.cooling.keys()
        for each in self.projection.sums:  # 2
            keys = {row[each.key] for row in moved} | ids_of(each.collection, tried)
            sums = await self._sums(each.key, keys, attempt)
            if self._doubting:
                names.update(name for added in sums.values() for name in added)
            zeros: Mapping[str, int] = {} if each.whole else dict.fromkeys(names, 0)
            # Where the server refuses a sum, a document of the source is to blame: one of those counted now.
            writes: list[tuple[Target | None, Write]] = [
                (
                    None,
                    UpdateOne(
                        {"_id": key},
                        {"$set": each.shown({**zeros, **sums.get(key, {})})},
                        upsert=each.collection in self._own,
                    ),
                )
                for key in keys
                if names or key in sums
            ]
            await attempt.write(self._database.collection(each.collection), writes)
        refused = {each: attempt.cooling[each] for each in attempt.keys - tried if each[0] != SOURCE}
        attempt.rejected.update(refused)
        news = {each: why for each, why in refused.items() if each not in attempt.retrying}
        await self.quarantine.put(news, news.keys(), attempt.session)  # 3

    async def gone(self) -> Keys:
        """Sums are taken over what is counted: nothing else can be left."""
        return frozenset()

    def rules(self, own: Iterable[UUID]) -> Sequence[Document]:
        """What else the platform writes to its documents is no concern of a sum."""
        return ()

    def _gone(self, counting: Counting) -> set[Any]:
        """What was counted of documents that are no more; what newer code counted is left to it."""
        there = {document["_id"] for document in counting.records.documents}
        there |= {one.id for one in counting.records.unreadable}
        version = self.projection.version
        return {
            each for each, row in counting.known.items() if each not in there and not is_newer(row, version)
        }

    async def _sums(self, key: str, keys: Set[Any], attempt: Attempt) -> dict[Any, dict[str, int]]:
        pipeline: list[Document] = [
            {"$match": {key: {"$in": list(keys)}}},
            {"$project": {"key": f"${key}", "part": {"$objectToArray": "$counted"}}},
            {"$unwind": "$part"},
            {"$group": {"_id": {"key": "$key", "name": "$part.k"}, "sum": {"$sum": "$part.v"}}},
        ]
        sums: dict[Any, dict[str, int]] = defaultdict(dict)
        if not keys:
            return sums
        found = await reading.aggregate(self._counted, pipeline, session=attempt.session)
        for row in found.documents:
            sums[row["_id"]["key"]][row["_id"]["name"]] = row["sum"]
        return sums
