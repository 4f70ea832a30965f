"""Read models as a follower drives them: of every document that moved, the views it belongs to."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.held_groups import HeldGroups
from worker.settings import CountsSettings
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.follower import Page
from worker.watch.models.views import model_views
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.sums.committer import Committer

NAME = "models"
_CHANGES = ["insert", "update", "replace", "delete", "drop", "rename"]


@dataclass(frozen=True, slots=True)
class Dirty:
    """Documents that moved by collection, collections that lost some, and by model the keys of views."""

    documents: Mapping[str, Collection[Any]] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    views: Mapping[str, Collection[Any]] = field(default_factory=dict)


class ModelExecutor:
    """Keeps the views of all read models over one change stream of the content database.

    A view is rebuilt at most once in its model's `freshness_s`: what is dirty meanwhile waits, and the token with it.
    Of a document that is gone nobody knows any more to which view it belonged: all views of the model are rebuilt.
    """

    def __init__(
        self, database: Database, clock: Clock, metrics: Metrics, groups: HeldGroups, settings: CountsSettings
    ) -> None:
        self.name = NAME
        self.versions: Mapping[str, int] = {each.name: each.version for each in database.catalogue.models}
        self._database = database
        self._clock = clock
        self._transactions = Transactions(database.client)
        committer = Committer(self._transactions, clock, groups.keep_alive, retry_counter(metrics))
        self._views = model_views(database, committer, metrics, code_version=settings.code_version)
        self._waiting: dict[str, set[Any]] = defaultdict(set)
        self._waits_since: Token | None = None
        self._due_at: dict[str, float] = defaultdict(float)

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        """What waits lies behind the saved token: the stream tells of it again."""
        self._waiting.clear()
        self._waits_since = None
        collections = sorted({each.collection for one in self._views.values() for each in one.model.triggers})
        pipeline: list[Document] = [
            {"$changeStream": {} if after is None else {"startAfter": dict(after)}},
            {
                "$match": {
                    "$or": [
                        {"ns.coll": {"$in": collections}, "operationType": {"$in": _CHANGES}},
                        {"operationType": "dropDatabase"},
                    ]
                }
            },
            {"$project": {"operationType": 1, "collection": "$ns.coll", "identity": "$documentKey._id"}},
        ]
        anchor = self._database.course_events
        return await ChangeStream.open(anchor, pipeline, after=after, whole_database=True)

    def keys(self, changes: Sequence[Document], before: Token) -> Dirty:
        if changes and self._waits_since is None:
            self._waits_since = before
        documents: dict[str, set[Any]] = defaultdict(set)
        for change in changes:
            if isinstance(change["identity"], Hashable):
                documents[change["collection"]].add(change["identity"])
        return Dirty(
            documents, frozenset(each["collection"] for each in changes if each["operationType"] == "delete")
        )

    async def apply(self, keys: Dirty, *, live: bool) -> None:
        """Rebuild what is due, and all of it where a past is compared. May run twice (see `Views.rebuild`)."""
        for name, views in self._views.items():
            waiting = self._waiting[name]
            waiting.update(keys.views.get(name, ()))
            for collection in {trigger.collection for trigger in views.model.triggers}:
                waiting.update(await views.keys_of(collection, keys.documents.get(collection, ())))
                if collection in keys.lost:
                    async for page in views.all_keys():
                        waiting.update(page)
            if waiting and (not live or self._clock.monotonic() >= self._due_at[name]):
                await views.rebuild(waiting)
                waiting.clear()
                self._due_at[name] = self._clock.monotonic() + views.model.freshness_s
        if not any(self._waiting.values()):
            self._waits_since = None

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Dirty], None]:
        """Every view, and every one that a document names; it starts over after an interruption."""
        for name in sorted({each for names in stale.values() for each in names}):
            async for page in self._views[name].all_keys():
                yield Page([Dirty(views={name: page})])

    def covered(self, token: Token) -> Token:
        """It stays before what waits for its turn."""
        return token if self._waits_since is None else self._waits_since

    def holds(self, groups: Mapping[int, int]) -> None:
        """Views of others are others'."""

    async def tidy(self) -> None:
        """Nothing is kept beside the views."""

    async def leave(self) -> None:
        await self._transactions.close()
