"""What MongoDB says of itself, as findings need it: each question is asked once, when somebody wants to know."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from worker.errors import Retryable, WorkerError
from worker.operate.asking import Once
from worker.operate.capacity.index_uses import IndexUse, read_index_uses
from worker.operate.capacity.measure import measure
from worker.operate.capacity.oplog import read_oplog
from worker.settings import Settings
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.differences import Found, Wanted, wanted_of
from worker.storage.durable_offsets import Held, Place, read_held
from worker.storage.errors import translated
from worker.storage.privileges import read_privileges
from worker.storage.schema import check_schema
from worker.storage.worker_models import Worker
from worker.storage.workers import known_workers
from worker.timing import Clock

_LIMIT_MS = 5_000
_PARAMETERS = ("featureCompatibilityVersion", "transactionLifetimeLimitSeconds", "enableTestCommands")


class MongoFacts:
    """Everything here only reads, and each command ends within five seconds."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        external, retention = settings.mongodb.external_collections, settings.retention
        self.hello = Once(partial(self._command, {"hello": 1}))
        self.build = Once(partial(self._command, {"buildInfo": 1}))
        self.parameters = Once(partial(self._command, {"getParameter": 1, **dict.fromkeys(_PARAMETERS, 1)}))
        self.privileges = Once(partial(read_privileges, database.client))
        self.oplog = Once(partial(read_oplog, database.client))
        self.differences = Once(partial(check_schema, database, external=external, retention=retention))
        self.collections = Once(self._collections)
        self.index_uses = Once(self._index_uses)
        self.measured = Once(partial(measure, database, clock))
        self.workers = Once(self._workers)

    @property
    def wanted(self) -> Sequence[Wanted]:
        """How the collections should be that nobody else looks after."""
        external = self._settings.mongodb.external_collections
        every = wanted_of(self._database.catalogue, self._settings.retention)
        return [each for each in every if each.collection not in external]

    async def told_parameters(self) -> Mapping[str, Any]:
        """The parameters, none where this user may not read them."""
        try:
            return await self.parameters()
        except Retryable:
            raise
        except WorkerError:
            return {}

    async def held(self, places: Iterable[Place]) -> Mapping[Place, Held]:
        """What the leases of these partitions say."""
        return await read_held(self._database, places)

    async def _command(self, command: Document) -> Mapping[str, Any]:
        with translated():
            reply: Mapping[str, Any] = await self._database.client.admin.command(
                {**command, "maxTimeMS": _LIMIT_MS}
            )
        return reply

    async def _collections(self) -> Mapping[str, Found]:
        """Those of ours that exist, with options and indexes."""
        homes = (self._database.content, self._database.analytics, self._database.config)
        with translated():
            listed = await asyncio.gather(*(driver.list_collections(home) for home in homes))
        options = {each["name"]: each.get("options", {}) for some in listed for each in some}
        ours = [each.collection for each in self.wanted if each.collection in options]
        with translated():
            indexes = await asyncio.gather(
                *(driver.list_indexes(self._database.collection(name)) for name in ours)
            )
        return {name: Found(options[name], tuple(of)) for name, of in zip(ours, indexes, strict=True)}

    async def _workers(self) -> Sequence[Worker]:
        """Those that live."""
        return [each.worker for each in (await known_workers(self._database))[0] if each.lives]

    async def _index_uses(self) -> Sequence[IndexUse]:
        return await read_index_uses(self._database, await self.collections())
