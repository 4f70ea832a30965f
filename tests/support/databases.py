"""Databases with the schema applied and nothing in them: emptied after a test and given to the next one.

To make all collections and indexes takes server and client half a second of work; to empty them is twenty times
quicker. Databases that a test has left otherwise than it got them are dropped.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from worker.storage import schema
from worker.storage.database import Client, Database, Document, open_database

# More than this is dropped sooner than it is deleted.
_MOST_DOCUMENTS = 3_000
# A test may have left locks behind.
_LIMIT_MS = 5_000
_TOOK_TOO_LONG = 50  # server error code

Catalog = Mapping[str, Any]


class Databases:
    """The spare prefixes of one server, and what their catalogue says.

    It speaks to the server through one blocking client of the session's: each test has an event loop of its own.
    """

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[Document] = MongoClient(uri)
        self._spare: dict[str, Catalog] = {}
        self._known: dict[str, Catalog] = {}

    async def take(self, client: Client) -> Database:
        """Databases of a prefix that nobody else has, through this client."""
        if self._spare:
            prefix, self._known[prefix] = self._spare.popitem()
            return open_database(client, prefix)
        database = open_database(client, f"test_{uuid.uuid4().hex[:12]}")
        await schema.apply_schema(database)
        self._known[database.prefix] = self._catalog(database.prefix)
        return database

    def give_back(self, prefix: str) -> None:
        """Empty them for the next test, or drop them."""
        before = self._known.pop(prefix)
        if self._catalog(prefix) == before and not self._busy(prefix) and self._emptied(before):
            self._spare[prefix] = before
        else:
            self._drop(prefix)

    def close(self, *, drop: bool) -> None:
        """At the end of the session; `drop` where the server goes on after it."""
        for prefix in self._spare if drop else ():
            self._drop(prefix)
        self._client.close()

    def _catalog(self, prefix: str) -> Catalog:
        """Collections with their options and indexes, by namespace; views have neither."""
        mine = {"db": {"$regex": f"^{re.escape(prefix)}"}}
        return {
            row["ns"]: (row["md"]["options"], [index["spec"] for index in row["md"]["indexes"]])
            for row in self._client.admin.aggregate([{"$listCatalog": {}}, {"$match": mine}])
            if "md" in row
        }

    def _busy(self, prefix: str) -> bool:
        """Whether the test has left something under way that may still write, or a transaction open.

        A change stream whose reader is gone waits for another second, and does no harm.
        """
        writing = {
            "ns": {"$regex": f"^{re.escape(prefix)}"},
            "active": True,
            "cursor.tailable": {"$ne": True},
        }
        mine = {"$or": [writing, {"transaction": {"$exists": True}}]}
        operations = self._client.admin.aggregate([{"$currentOp": {"idleSessions": True}}, {"$match": mine}])
        return bool(list(operations))

    def _emptied(self, namespaces: Catalog) -> bool:
        """Delete what is in these collections; False where that is too much, or somebody holds a lock."""
        filled = {}
        for namespace in namespaces:
            home, _, name = namespace.partition(".")
            if name != "system.views" and (count := self._client[home].command("count", name)["n"]):
                filled[namespace] = count
        if sum(filled.values()) > _MOST_DOCUMENTS:
            return False
        for namespace in filled:
            home, _, name = namespace.partition(".")
            deletes = {"delete": name, "deletes": [{"q": {}, "limit": 0}], "maxTimeMS": _LIMIT_MS}
            try:
                self._client[home].command(deletes, writeConcern={"w": "majority", "j": True})
            except OperationFailure as failure:
                if failure.code != _TOOK_TOO_LONG:
                    raise
                return False
        return True

    def _drop(self, prefix: str) -> None:
        for name in self._client.list_database_names():
            if name.startswith(prefix):
                self._client.drop_database(name)
