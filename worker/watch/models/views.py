"""A read model as its value declares it: the documents of a key are read in one snapshot and become its view."""

from collections.abc import AsyncGenerator, Collection, Hashable, Mapping
from functools import partial
from typing import Any

import structlog
from pymongo import DeleteOne, UpdateOne
from pymongo.errors import BulkWriteError

from projections.kinds import ReadModel
from worker.chunks import chunks
from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated, write_failures
from worker.storage.quarantine import Quarantined, put_items, quarantine
from worker.storage.transactions import Session
from worker.storage.work_items import fold_item_id, fold_type
from worker.telemetry.metrics import Applied, Metrics, Mode
from worker.watch.sums.catch_up import pages
from worker.watch.sums.committer import Committer
from worker.watch.sums.conflict_markers import WriteConflictMarkers

log = structlog.get_logger(__name__)

# Views of one transaction: each may be made of thousands of documents.
_VIEWS_PER_TRANSACTION = 10


class Views:
    """Keeps the views of one read model; safe beside any number of others like it.

    Every transaction writes the model's one marker before it reads: they follow each other, and whoever commits later
    has read later. So an older view never takes the place of a newer one, nor of one that is gone. `as_of` is the
    server's time of that transaction.
    """

    def __init__(
        self,
        database: Database,
        model: ReadModel,
        committer: Committer,
        metrics: Metrics,
        *,
        code_version: str,
    ) -> None:
        self.model = model
        self._database = database
        self._target = database.collection(model.target.collection)
        self._markers = WriteConflictMarkers(database)
        self._committer = committer
        self._metrics = metrics
        self._code_version = code_version

    async def rebuild(self, keys: Collection[Any], *, mode: Mode = Mode.LIVE) -> dict[Any, str]:
        """Return when the view of each key is built anew, or quarantined; returns why of the latter.

        May run twice, at the same time, anywhere. Raises Retryable while MongoDB is away.
        """
        failures: dict[Any, str] = {}
        for some in chunks(keys, _VIEWS_PER_TRANSACTION):
            failures |= await self._rebuild(some)
        await self._quarantine(failures)
        applied = self._metrics.projection_events_applied_total
        applied.labels(self.model.name, mode, Applied.APPLIED).inc(len(keys) - len(failures))
        applied.labels(self.model.name, mode, Applied.FAILED).inc(len(failures))
        return failures

    async def keys_of(self, collection: str, identities: Collection[Any]) -> set[Any]:
        """The views that these documents belong to."""
        keys: set[Any] = set()
        for some in chunks(identities, _VIEWS_PER_TRANSACTION * 100):
            found = await reading.find(self._database.collection(collection), {"_id": {"$in": some}})
            for trigger in self.model.triggers:
                if trigger.collection == collection:
                    keys.update(_keys(found.through(trigger.key).values))
        return keys

    async def all_keys(self) -> AsyncGenerator[list[Any]]:
        """Pages of the keys of all views, and of those that documents name."""
        async for page in pages(self._target):
            yield list(page)
        for trigger in self.model.triggers:
            async for page in pages(self._database.collection(trigger.collection)):
                yield list(await self.keys_of(trigger.collection, list(page)))

    async def _rebuild(self, keys: list[Any]) -> dict[Any, str]:
        """One transaction; where the server refuses one of the views, one for each."""
        try:
            return await self._committer.run(partial(self._transact, keys))
        except Refused:
            if len(keys) == 1:
                return {keys[0]: "the server refuses the view"}
        except BulkWriteError as error:
            if len(keys) == 1:
                return {keys[0]: f"the server refuses the view (code {write_failures(error)[0].code})"}
        failures: dict[Any, str] = {}
        for key in keys:
            failures |= await self._rebuild([key])
        return failures

    async def _transact(self, keys: list[Any], session: Session) -> dict[Any, str]:
        """1. write the marker  2. read and build each view  3. write or remove it. Returns what cannot be built."""
        await self._markers.touch("sum", [self.model.name], session)  # 1
        failures: dict[Any, str] = {}
        writes: list[UpdateOne | DeleteOne] = []
        for key in keys:
            documents = {name: await self._read(name, key, session) for name in self.model.reads}  # 2
            try:
                view = self.model.build(key, documents)
            except Exception as error:  # one view's documents: the others must not wait for it
                failures[key] = f"{type(error).__name__} while it was built"
                continue
            writes.append(DeleteOne({"_id": key}) if view is None else _write(key, view))
        if writes:
            with translated():
                await self._target.bulk_write(writes, session=session)  # 3
        return failures

    async def _read(self, name: str, key: Any, session: Session) -> list[Document]:
        read = self.model.reads[name]
        collection, paths = self._database.collection(read.collection), dict.fromkeys(read.paths, 1)
        found = await reading.find(collection, read.query(key), paths, session=session, limit=read.most)
        return found.documents

    async def _quarantine(self, failures: Mapping[Any, str]) -> None:
        items = [
            quarantine(
                Quarantined(
                    item_id=fold_item_id(key, self.model.name),
                    event_type=fold_type(self.model.name),
                    error_class="Unbuilt",
                    message=reason,
                    data={"collection": self.model.target.collection, "id": key},
                ),
                self._code_version,
            )
            for key, reason in failures.items()
        ]
        if items:
            await put_items(self._database.analytics_queue, items)
            log.warning(f"{self.model.name}_quarantined", views=len(items))


def model_views(
    database: Database,
    committer: Committer,
    metrics: Metrics,
    *,
    code_version: str,
) -> dict[str, Views]:
    """What keeps each read model of the catalogue, by its name."""
    return {
        each.name: Views(
            database,
            each,
            committer,
            metrics,
            code_version=code_version,
        )
        for each in database.catalogue.models
    }


def _write(key: Any, view: Document) -> UpdateOne:
    whole = {"$mergeObjects": [{"_id": key}, {"$literal": view}, {"as_of": "$$NOW"}]}
    return UpdateOne({"_id": key}, [{"$replaceWith": whole}], upsert=True)


def _keys(values: Collection[Any]) -> set[Any]:
    return {key for key in values if key is not None and isinstance(key, Hashable)}
