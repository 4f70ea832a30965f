"""A read model as its value declares it: the documents of a key are read in one snapshot and become its view."""

from collections.abc import AsyncGenerator, Collection, Hashable, Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog
from bson import ObjectId
from pymongo import DeleteOne, UpdateOne

from projections.kinds import ReadModel
from worker.chunks import chunks
from worker.contract.reserved import NOT_RESERVED
from worker.settings import CoolDownSettings
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.encoding import same
from worker.storage.leases import Token
from worker.watch.derived import Derived
from worker.watch.sums.attempt import Attempt, Keys, Reason, Target, Write, ids_of
from worker.watch.sums.catch_up import pages
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.quarantine import Quarantine
from worker.watch.sums.runner import Dependencies, Runner

log = structlog.get_logger(__name__)

VIEW = "view"
_LOST = "lost"
# Views of one transaction: each may be made of thousands of documents.
_VIEWS_PER_TRANSACTION = 10
# Documents asked at a time for the views they belong to.
_DOCUMENTS_AT_A_TIME = 1_000
# The pause between two views of a key where the model says none.
_SHORTEST_S = 0.001


class Views(Derived):
    """Keeps the views of one read model; safe beside any number of others like it.

    Every transaction writes the model's one marker before it reads: they follow each other, and whoever commits later
    has read later. So an older view never takes the place of a newer one, nor of one that is gone. `as_of` is the
    server's time of that transaction. A view is rebuilt at most once in `freshness_s`, and waits meanwhile.

    `doubting`: a view that is as it must be is left as it stands. The canary's documents make no view dirty, and
    stand in none.
    """

    def __init__(self, given: Dependencies, model: ReadModel, *, doubting: bool = False) -> None:
        super().__init__(given, model.name)
        self.version = model.version
        self.sources = frozenset(trigger.collection for trigger in model.triggers)
        self.shown: frozenset[str] = frozenset()
        pause_s = max(model.freshness_s, _SHORTEST_S)
        # A turn is earned as fast as one may be taken, so that views never wait any longer.
        self.cool_down = CoolDown(CoolDownSettings(at_most_every_s=pause_s, turns=2, then_every_s=pause_s))
        self._model = model
        self._doubting = doubting
        self._target = given.database.collection(model.target.collection)
        self._markers = WriteConflictMarkers(given.database)
        self.quarantine = Quarantine(given, model.name, {VIEW: model.target.collection}, by_kind=False)
        self._runner = Runner(given, _VIEWS_PER_TRANSACTION)

    def rules(self, own: Iterable[UUID]) -> Sequence[Document]:
        """Every change of what views are made from matters, and no other."""
        return ()

    def keys(self, changes: Sequence[Document]) -> Keys:
        """Documents by collection; of one that is gone nobody knows any more to which view it belonged."""
        moved = [each for each in changes if each["collection"] in self.sources]
        lost = {(_LOST, each["collection"]) for each in moved if each["operationType"] == "delete"}
        known = [each for each in moved if isinstance(each["identity"], Hashable)]
        return frozenset(lost | {(each["collection"], each["identity"]) for each in known})

    async def bring(self, keys: Keys, before: Token | None) -> None:
        """Rebuild the views that these documents belong to, or all where one of them is gone.

        `before` is the token before they moved; None: these are views that `missed` has found.
        """
        if before is None:
            await self.rebuild(keys)
            return
        dirty: set[Target] = set()
        for collection in self.sources:
            dirty |= await self._views_of(collection, ids_of(collection, keys))
        if ids_of(_LOST, keys):
            async for page in self.missed():
                dirty |= page
        await self.rebuild(self.cool_down.admit(frozenset(dirty), before, self._given.clock.monotonic()))

    async def missed(self) -> AsyncGenerator[Keys]:
        """Pages of all views, and of those that documents name."""
        async for page in pages(self._target):
            yield frozenset((VIEW, key) for key in page)
        for collection in self.sources:
            async for page in pages(self._given.database.collection(collection)):
                yield frozenset(await self._views_of(collection, page.keys()))

    def stand_by(self) -> None:
        """Views of others are others'."""

    async def rebuild(self, keys: Keys, *, retrying: Keys = frozenset()) -> dict[Target, Reason]:
        """Return when each of these views is built anew, or quarantined; returns why of the latter.

        May run twice, at the same time, anywhere. Raises Retryable while MongoDB is away.
        """
        failures: dict[Target, Reason] = {}
        for some in chunks(keys, _VIEWS_PER_TRANSACTION):
            async for attempt, _ in self._runner.run(frozenset(some), self._transact, retrying):
                failures |= attempt.rejected
                self._changed.update(attempt.changed)
        self._count_applied(keys, len(failures), retrying=bool(retrying))
        if failures:
            log.warning(f"{self.name}_quarantined", views=len(failures))
        return failures

    @property
    def walked(self) -> list[tuple[str, str]]:
        """Its views, and what they are made of, each collection with the kind of target its documents are."""
        return [(self._model.target.collection, VIEW), *((each, each) for each in sorted(self.sources))]

    async def unseen(self, collection: str, identities: Iterable[ObjectId]) -> list[ObjectId]:
        """All: which view a document belongs to is only known by reading it."""
        return list(identities)

    async def remake(self, kind: str, identities: Iterable[Any]) -> int:
        """Rebuild these views, or those that these documents belong to; returns how many cannot be built."""
        some = list(identities)
        keys = {(VIEW, each) for each in some} if kind == VIEW else await self._views_of(kind, some)
        return len(await self.rebuild(frozenset(keys)))

    async def recount(self, keys: Keys) -> dict[Target, Reason]:
        """Try what was quarantined; returns what still cannot be built or stored."""
        return await self.rebuild(keys, retrying=keys)

    async def _transact(self, attempt: Attempt) -> None:
        """1. write the marker  2. read and build each view  3. write or remove it  4. quarantine what has none."""
        await self._markers.touch("sum", [self.name], attempt.session)  # 1
        writes: list[tuple[Target | None, Write]] = []
        for target in attempt.keys:
            if target in attempt.cooling:
                attempt.rejected[target] = attempt.cooling[target]
                continue
            key = target[1]
            documents = {name: await self._read(name, key, attempt) for name in self._model.reads}  # 2
            try:
                view = self._model.build(key, documents)
            except Exception as error:  # one view's documents: the others must not wait for it
                attempt.rejected[target] = Reason("Unbuilt", f"{type(error).__name__} while it was built")
                continue
            if self._doubting and await self._stands(key, view, attempt):
                continue
            writes.append((target, DeleteOne({"_id": key}) if view is None else _write(key, view)))
        await attempt.write(self._target, writes)  # 3
        news = {each: why for each, why in attempt.rejected.items() if each not in attempt.retrying}
        await self.quarantine.put(news, news.keys(), attempt.session)  # 4

    async def _stands(self, key: Any, view: Document | None, attempt: Attempt) -> bool:
        """Whether the view is there as it must be, whenever it was made."""
        found = await attempt.read(self._target, [key], {})
        stored = [
            {name: each[name] for name in each if name not in ("_id", "as_of")} for each in found.documents
        ]
        return not found.unreadable and (same(stored[0], view) if stored else view is None)

    async def _read(self, name: str, key: Any, attempt: Attempt) -> list[Document]:
        read = self._model.reads[name]
        collection, paths = self._given.database.collection(read.collection), dict.fromkeys(read.paths, 1)
        query = {"$and": [read.query(key), NOT_RESERVED]}
        found = await reading.find(collection, query, paths, session=attempt.session, limit=read.most)
        return found.documents

    async def _views_of(self, collection: str, identities: Collection[Any]) -> set[Target]:
        """The views that these documents belong to."""
        keys: set[Target] = set()
        for some in chunks(identities, _DOCUMENTS_AT_A_TIME):
            found = await reading.find(
                self._given.database.collection(collection), {"_id": {"$in": some}, **NOT_RESERVED}
            )
            for trigger in self._model.triggers:
                if trigger.collection == collection:
                    named = found.through(trigger.key).values
                    keys |= {(VIEW, key) for key in named if key is not None and isinstance(key, Hashable)}
        return keys


def _write(key: Any, view: Document) -> UpdateOne:
    whole = {"$mergeObjects": [{"_id": key}, {"$literal": view}, {"as_of": "$$NOW"}]}
    return UpdateOne({"_id": key}, [{"$replaceWith": whole}], upsert=True)
