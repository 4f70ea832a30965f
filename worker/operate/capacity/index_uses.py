"""How often each index was used, as far as the server counts it: since its start, or since the index was made."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.read_concern import ReadConcern

from worker.storage import driver
from worker.storage.database import Collection, Database
from worker.storage.errors import translated
from worker.storage.expiry import SERIES

_LIMIT_MS = 5_000
_LOCAL = ReadConcern("local")


@dataclass(frozen=True, slots=True)
class IndexUse:
    """One index: `uses` of this member's queries since `since`; `definition` as the server describes it."""

    collection: str
    name: str
    uses: int
    since: datetime
    definition: Mapping[str, Any]


async def read_index_uses(database: Database, collections: Iterable[str]) -> Sequence[IndexUse]:
    """Of these collections, but for a time series: what is counted there is about the buckets below it.

    Raises `Misconfigured` where this user may not ask (`indexStats`, which `clusterMonitor` has).
    """
    some = await asyncio.gather(*(_uses_of(database, name) for name in collections if name != SERIES))
    return [use for uses in some for use in uses]


async def _uses_of(database: Database, name: str) -> Sequence[IndexUse]:
    with translated():
        found = await driver.aggregate(
            for_statistics(database.collection(name)), [{"$indexStats": {}}], maxTimeMS=_LIMIT_MS
        )
    return [
        IndexUse(name, each["name"], int(each["accesses"]["ops"]), each["accesses"]["since"], each["spec"])
        for each in found
    ]


def for_statistics(collection: Collection) -> Collection:
    """The handle by which statistics are read: the server gives them at no other read concern."""
    return collection.with_options(read_concern=_LOCAL)
