"""The records that are not the worker's: how many there are, which learners have several, and all in pages."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from worker.adopt.outcome import Reason, SetAside
from worker.adopt.platform import FOREIGN, LONGEST_BYTES, can_be_asked_for
from worker.storage import driver, reading
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated

# What one transaction converts: some tenths of a second of work.
_MOST_RECORDS = 100
_MOST_BYTES = 4_000_000
_SIZED = {"_id": 1, "size": {"$bsonSize": "$$ROOT"}}


@dataclass(frozen=True, slots=True)
class Ids:
    """A page of records by their `_id`s; those that need no look are set aside already.

    `after` is the last `_id` below which everything was seen, as far as ids have an order that a query knows.
    """

    identities: Sequence[Any]
    set_aside: Sequence[SetAside]
    after: ObjectId | None

    @property
    def records(self) -> int:
        return len(self.identities) + len(self.set_aside)


async def count_records(database: Database) -> tuple[int, int]:
    """How many records are the worker's, and how many are the platform's own."""
    with translated():
        foreign = await database.user_progress.count_documents(dict(FOREIGN))
        everything = await database.user_progress.count_documents({})
    return max(0, everything - foreign), foreign


async def count_foreign(database: Database, collection: str) -> int:
    """How many documents of a collection no fold made."""
    with translated():
        return int(await database.collection(collection).count_documents(dict(FOREIGN)))


async def foreign_among(database: Database, ids: Sequence[ObjectId]) -> frozenset[ObjectId]:
    """Those of the ids under which there is a record of the platform's own."""
    query = {"_id": {"$in": list(ids)}, **FOREIGN}
    rows = await reading.find_raw(database.user_progress, query, {"_id": 1})
    return frozenset((reading.shown(raw) or {})["_id"] for raw in rows)


async def find_duplicates(database: Database) -> dict[Any, tuple[Any, ...]]:
    """By `_id` of a record of the platform's own, those of all its own records of the same learner in the course."""
    pipeline: list[Document] = [
        {"$match": {**FOREIGN, "user_id": {"$type": "objectId"}, "course_id": {"$type": "objectId"}}},
        {"$group": {"_id": {"u": "$user_id", "c": "$course_id"}, "n": {"$sum": 1}}},
        {"$match": {"n": {"$gt": 1}}},
    ]
    with translated():
        pairs = await driver.aggregate(database.user_progress, pipeline, allowDiskUse=True)
    found: dict[Any, tuple[Any, ...]] = {}
    for pair in pairs:
        query = {"user_id": pair["_id"]["u"], "course_id": pair["_id"]["c"], **FOREIGN}
        raws = await reading.find_raw(database.user_progress, query, {"_id": 1})
        rows = [reading.shown(raw) or {} for raw in raws]
        ids = tuple(row["_id"] for row in rows if can_be_asked_for(row.get("_id")))
        found |= dict.fromkeys(ids, ids)
    return found


async def pages(
    database: Database, after: ObjectId | None, collection: Collection | None = None
) -> AsyncGenerator[Ids]:
    """All records of the platform's own, by `_id`; on from `after` where a former walk came to.

    They are learners' unless another collection is named.
    Ids of other types than ObjectId have no place in that order: they come in every walk.
    """
    query: Document = dict(FOREIGN)
    if after is not None:
        beyond: list[Document] = [{"_id": {"$gt": after}}, {"_id": {"$not": {"$type": "objectId"}}}]
        query["$or"] = beyond
    page: list[tuple[Any, int]] = []
    walked = database.user_progress if collection is None else collection
    found = reading.raw_batches(walked, query, _SIZED, sort=[("_id", 1)])
    async with aclosing(found) as batches:
        async for raws in batches:
            for identity, size in map(_sized, raws):
                total = sum(each for _, each in page) + size
                if page and (len(page) >= _MOST_RECORDS or total > _MOST_BYTES):
                    yield _page(page, after)
                    after = _last(page, after)
                    page = []
                page.append((identity, size))
    if page:
        yield _page(page, after)


def _sized(raw: bytes) -> tuple[Any, int]:
    row = reading.shown(raw) or {}
    return row.get("_id"), int(row.get("size", 0))


def _page(page: Sequence[tuple[Any, int]], after: ObjectId | None) -> Ids:
    aside = dict(_set_aside(page))
    identities = [identity for place, (identity, _) in enumerate(page) if place not in aside]
    return Ids(identities, list(aside.values()), _last(page, after))


def _set_aside(page: Sequence[tuple[Any, int]]) -> Iterator[tuple[int, SetAside]]:
    for place, (identity, size) in enumerate(page):
        name = reading.name_of(identity)
        if not can_be_asked_for(identity):
            detail = f"its _id is of a type ({type(identity).__name__}) that no query can name"
            yield place, SetAside(name, Reason.UNFIT, detail)
        elif size > LONGEST_BYTES:
            detail = f"the record has more than {LONGEST_BYTES} bytes"
            yield place, SetAside(name, Reason.TOO_LARGE, detail)


def _last(page: Sequence[tuple[Any, int]], after: ObjectId | None) -> ObjectId | None:
    ids = [identity for identity, _ in page if isinstance(identity, ObjectId)]
    return ids[-1] if ids else after


def by_pair(duplicates: Mapping[Any, Sequence[Any]]) -> int:
    """How many learners have several records in one course."""
    groups: dict[tuple[Any, ...], int] = defaultdict(int)
    for ids in duplicates.values():
        groups[tuple(map(repr, ids))] += 1
    return len(groups)
