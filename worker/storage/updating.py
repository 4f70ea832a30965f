"""Updates of many documents that somebody else may have written: one that refuses stops no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import UpdateMany
from pymongo.errors import BulkWriteError, WriteError

from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Collection, Document
from worker.storage.errors import translated, write_failures

# Looked at one by one, where all together were refused.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Updated:
    """How many documents matched and were changed, and which ones the server refused to change, with its code."""

    matched: int = 0
    changed: int = 0
    refused: Mapping[Any, int] = field(default_factory=dict)


async def update_each(
    collection: Collection, query: Mapping[str, Any], update: Sequence[Mapping[str, Any]]
) -> Updated:
    """Update what matches, all but the documents that the server refuses. May run twice where the update may.

    One command, as long as nothing is refused; then the first thousand of them, one by one.
    """
    try:
        with translated():
            result = await collection.update_many(query, update)
        return Updated(result.matched_count, result.modified_count)
    except (Refused, WriteError):
        return await _one_by_one(collection, query, update)


async def _one_by_one(
    collection: Collection, query: Mapping[str, Any], update: Sequence[Mapping[str, Any]]
) -> Updated:
    found = await reading.find(collection, query, {"_id": 1}, limit=_AT_ONCE)
    ids = [row["_id"] for row in found.documents if isinstance(row["_id"], reading.IDENTITIES)]
    if not ids:
        return Updated()
    writes = [UpdateMany({"$and": [{"_id": identity}, query]}, update) for identity in ids]
    try:
        with translated():
            result = await collection.bulk_write(writes, ordered=False)
        return Updated(result.matched_count, result.modified_count)
    except BulkWriteError as error:
        refused = {ids[failure.index]: failure.code for failure in write_failures(error)}
        return Updated(int(error.details["nMatched"]), int(error.details["nModified"]), refused)


def millis(end: str | Document, start: str | Document, otherwise: Any = None) -> Document:
    """The milliseconds between two values, as an expression; `otherwise` where one of them is no date of our era."""
    usual = [{"$and": [{"$eq": [{"$type": each}, "date"]}, _usual(each)]} for each in (end, start)]
    return {"$cond": [{"$and": usual}, {"$subtract": [end, start]}, otherwise]}


def _usual(value: str | Document) -> Document:
    # Further away a difference does not fit its 64 bits.
    first, last = reading.FIRST_DATE, reading.LAST_DATE
    return {"$and": [{"$gte": [value, first]}, {"$lte": [value, last]}]}
