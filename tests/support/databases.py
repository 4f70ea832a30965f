"""Databases with the schema applied and nothing in them: emptied after a test and given to the next one.

To make all collections and indexes takes server and client half a second of work; to empty them is twenty times
quicker. Databases that a test has left otherwise than it got them are dropped.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import PyMongoError

from worker.storage import schema
from worker.storage.database import Client, Database, make_client, open_database
from worker.storage.driver import close

# More than this is dropped sooner than it is deleted.
_MOST_DOCUMENTS = 3_000
# A test may have left locks behind.
_LIMIT_MS = 5_000

Catalog = Mapping[str, Any]


class Databases:
    """The spare prefixes of one server, and what their catalogue says."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._spare: dict[str, Catalog] = {}
        self._known: dict[str, Catalog] = {}

    async def take(self, client: Client) -> Database:
        """Databases of a prefix that nobody else has, through this client."""
        if self._spare:
            prefix, self._known[prefix] = self._spare.popitem()
            return open_database(client, prefix)
        database = open_database(client, f"test_{uuid.uuid4().hex[:12]}")
        await schema.apply_schema(database)
        async with self._client() as own:
            self._known[database.prefix] = await _catalog(own, database.prefix)
        return database

    async def give_back(self, prefix: str) -> None:
        """Empty them for the next test, or drop them."""
        before = self._known.pop(prefix)
        async with self._client() as client:
            if await _reusable(client, prefix, before):
                self._spare[prefix] = before
            else:
                await _drop(client, prefix)

    async def drop_all(self) -> None:
        """On a server that goes on after the session."""
        async with self._client() as client:
            for prefix in self._spare:
                await _drop(client, prefix)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        client = make_client(self._uri)
        try:
            yield client
        finally:
            await close(client)


async def _reusable(client: Client, prefix: str, before: Catalog) -> bool:
    """Whether they were as they had been made, nothing works in them any more, and they are empty now."""
    database = open_database(client, prefix)
    homes = (database.content, database.analytics, database.config)
    try:
        if await _catalog(client, prefix) != before or await _busy(client, prefix):
            return False
        sizes = await asyncio.gather(*(home.command("dbStats") for home in homes))
        if sum(size["objects"] for size in sizes) > _MOST_DOCUMENTS:
            return False
        for home, size in zip(homes, sizes, strict=True):
            if size["objects"]:
                await asyncio.gather(
                    *(_empty(home, name) for name in before if name.startswith(f"{home.name}."))
                )
    except PyMongoError:
        return False
    return True


async def _empty(home: Any, namespace: str) -> None:
    name = namespace.removeprefix(f"{home.name}.")
    if name != "system.views":
        every = {"q": {}, "limit": 0}
        await home.command({"delete": name, "deletes": [every], "maxTimeMS": _LIMIT_MS})


async def _catalog(client: Client, prefix: str) -> Catalog:
    """Collections with their options and indexes, by namespace; views have neither."""
    mine = {"db": {"$regex": f"^{re.escape(prefix)}"}}
    listed = await client.admin.aggregate([{"$listCatalog": {}}, {"$match": mine}])
    return {
        row["ns"]: (row["md"]["options"], [index["spec"] for index in row["md"]["indexes"]])
        for row in await listed.to_list()
        if "md" in row
    }


async def _busy(client: Client, prefix: str) -> bool:
    """Whether an operation of the test is still under way."""
    mine = {"ns": {"$regex": f"^{re.escape(prefix)}"}, "active": True}
    listed = await client.admin.aggregate([{"$currentOp": {}}, {"$match": mine}])
    return bool(await listed.to_list())


async def _drop(client: Client, prefix: str) -> None:
    names = [name for name in await client.list_database_names() if name.startswith(prefix)]
    await asyncio.gather(*map(client.drop_database, names))
