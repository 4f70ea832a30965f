"""Measures the store without reading it: what the server counts anyway, and rows of the time series by their time.

Nothing scans a collection. The rows of a span of time are found by the order in which the server keeps a time series,
within a limit of time: where that is too short, a shorter span is taken.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.errors import Misconfigured, Retryable, WorkerError
from worker.operate.asking import NotTold
from worker.operate.capacity.forecast import CollectionSize, Growth, Rate
from worker.operate.capacity.index_uses import IndexUse, for_statistics, read_index_uses
from worker.operate.capacity.oplog import Oplog, read_oplog
from worker.storage import driver
from worker.storage.database import FORMER, Database, Document, collections_of
from worker.storage.errors import translated
from worker.storage.expiry import SERIES, kept_rows
from worker.timing import Clock

_LIMIT_MS = 5_000
# Weeks have quiet days: the longest span that is counted in time decides.
_SPANS = (timedelta(days=7), timedelta(days=1), timedelta(hours=1))
# What came within a few minutes says nothing about a day.
_SHORTEST = timedelta(hours=1)
_DAY_S = 24 * 3_600


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """One database as `dbStats` says it."""

    name: str
    collections: int
    documents: int
    data_bytes: int
    storage_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything of one time. `oplog` is the reason where it cannot be read; so is `rate`, where nothing came."""

    events: int
    databases: Sequence[DatabaseSize]
    collections: Sequence[CollectionSize]
    index_uses: Sequence[IndexUse]
    rate: Rate | str
    oplog: Oplog | str
    free_bytes: int | None
    kept_days: float

    @property
    def growth(self) -> Growth:
        """What follows from it, of no growth where no rate is known."""
        per_day = self.rate.per_day if isinstance(self.rate, Rate) else 0.0
        return Growth(self.events, per_day, self.collections, SERIES, self.kept_days)


async def measure(database: Database, clock: Clock) -> Measured:
    """Read all figures; each command within five seconds. Raises as the driver's border does."""
    statistics = [await _database(home) for home in (database.content, database.analytics, database.config)]
    present = await _present(database)
    collections = await asyncio.gather(*(_collection(database, name) for name in present))
    kept_s = (await kept_rows(database)).kept_s
    return Measured(
        events=next((each.documents or 0 for each in collections if each.name == "course_events"), 0),
        databases=[size for size, _ in statistics],
        collections=collections,
        index_uses=await _index_uses(database, present),
        rate=await _rate(database, clock.now()) if SERIES in present else f"there is no {SERIES}",
        oplog=await _oplog(database),
        free_bytes=next((free for _, free in statistics if free is not None), None),
        kept_days=kept_s / _DAY_S,
    )


async def _present(database: Database) -> Sequence[str]:
    """Those of the platform's and the projections' collections that exist, in their usual order."""
    homes = (database.content, database.analytics, database.config)
    with translated():
        listed = await asyncio.gather(*(driver.list_collections(home) for home in homes))
    names = {each["name"] for some in listed for each in some}
    return [name for name in collections_of(database.catalogue) if name in names and name not in FORMER]


async def _database(home: Any) -> tuple[DatabaseSize, int | None]:
    with translated():
        stats = await home.command({"dbStats": 1, "maxTimeMS": _LIMIT_MS})
    size = DatabaseSize(
        name=home.name,
        collections=int(stats["collections"]),
        documents=int(stats["objects"]),
        data_bytes=int(stats["dataSize"]),
        storage_bytes=int(stats["storageSize"]),
        index_bytes=int(stats["indexSize"]),
    )
    total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
    return size, int(total - used) if total and used is not None else None


async def _collection(database: Database, name: str) -> CollectionSize:
    """The sum over the shards, where there are several."""
    with translated():
        parts = await driver.aggregate(
            for_statistics(database.collection(name)),
            [{"$collStats": {"storageStats": {}}}],
            maxTimeMS=_LIMIT_MS,
        )
    stats = [part["storageStats"] for part in parts]
    return CollectionSize(
        name=name,
        database=database.home(name).name,
        documents=None if name == SERIES else _sum(stats, "count"),
        data_bytes=_sum(stats, "size"),
        storage_bytes=_sum(stats, "storageSize"),
        indexes=_indexes(stats),
    )


def _sum(stats: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(each.get(name, 0)) for each in stats)


def _indexes(stats: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for each in stats:
        for name, size in each.get("indexSizes", {}).items():
            found[name] = found.get(name, 0) + int(size)
    return found


async def _rate(database: Database, now: datetime) -> Rate | str:
    """How many events happened in the longest span that the server counts in time."""
    reason: Retryable | None = None
    for span in _SPANS:
        try:
            rows, first = await _rows(database, now - span, now)
        except Retryable as error:
            reason = error
            continue
        if not rows or first is None:
            return f"no event happened within {span.days or 1} {'days' if span.days else 'hour'}"
        return Rate(rows, max(now - first, _SHORTEST))
    raise NotTold(f"the events of an hour were not counted in time ({reason})") from reason


def rows_between(begin: datetime, end: datetime) -> list[Document]:
    """The pipeline that counts rows of a span, and names the time of the first."""
    return [
        {"$match": {"timestamp": {"$gte": begin, "$lt": end}}},
        {"$group": {"_id": None, "rows": {"$sum": 1}, "first": {"$min": "$timestamp"}}},
    ]


async def _rows(database: Database, begin: datetime, end: datetime) -> tuple[int, datetime | None]:
    with translated():
        found = await driver.aggregate(
            database.user_interactions, rows_between(begin, end), maxTimeMS=_LIMIT_MS
        )
    return (int(found[0]["rows"]), found[0]["first"]) if found else (0, None)


async def _index_uses(database: Database, present: Sequence[str]) -> Sequence[IndexUse]:
    """Nothing, where this user may not ask: the sizes are told all the same."""
    try:
        return await read_index_uses(database, present)
    except Misconfigured:
        return []


async def _oplog(database: Database) -> Oplog | str:
    try:
        return await read_oplog(database.client)
    except Retryable:
        raise
    except WorkerError as error:
        return str(error)
