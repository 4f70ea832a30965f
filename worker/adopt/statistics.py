"""What the platform has counted by itself: kept beside the worker's numbers, and compared with its records.

The worker shows in `courses.stats` and `users.stats` what the records say. What stood there before (learners who
cannot be adopted, years of which no record is left, learners counted twice) stays in `stats.before_adoption`.
"""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.decimal128 import Decimal128
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from worker.chunks import chunks
from worker.storage import driver, reading
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated, write_failures

BEFORE = "before_adoption"

# The worker's fields of `stats` (`projections.counts.statistics`), by collection.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "courses": ("enrollments", "ratings", "engagement"),
    "users": ("courses_enrolled", "courses_completed", "certificates_earned", "total_students", "avg_rating"),
}
_COUNTED: Mapping[str, tuple[str, str]] = {
    "courses": ("course_id", "stats.enrollments.total"),
    "users": ("user_id", "stats.courses_enrolled"),
}
_DOCUMENTS_AT_ONCE = 500
_MOST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Kept:
    """How many documents had their numbers put aside, and how many the server refused."""

    kept: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """Documents whose number of enrolments is not that of the records there are; some of them."""

    differ: int = 0
    samples: Sequence[Mapping[str, Any]] = ()


async def keep_former(database: Database, name: str) -> AsyncGenerator[Kept]:
    """Copy the platform's numbers of all `courses` or `users` once, before the worker writes its own in their place.

    May run twice, and beside a worker: a document that shows the worker's sums, or has its copy, is left alone.
    """
    collection, fields = database.collection(name), _FIELDS[name]
    query: Document = {
        "stats": {"$type": "object"},
        "stats.sums": {"$exists": False},
        f"stats.{BEFORE}": {"$exists": False},
        "$or": [{f"stats.{each}": {"$exists": True}} for each in fields],
    }
    copy = {"at": "$$NOW", **{each: f"$stats.{each}" for each in fields}}
    update = [{"$set": {f"stats.{BEFORE}": copy}}]
    async for found in reading.batches(collection, query, {"_id": 1}, batch_size=_DOCUMENTS_AT_ONCE):
        for rows in chunks(found.documents, _DOCUMENTS_AT_ONCE):
            yield await _updated(
                collection, [UpdateOne({**query, "_id": row["_id"]}, update) for row in rows]
            )


async def _updated(collection: Collection, updates: Sequence[UpdateOne]) -> Kept:
    try:
        with translated():
            result = await collection.bulk_write(updates, ordered=False)
    except BulkWriteError as error:
        return Kept(error.details.get("nModified", 0), len(write_failures(error)))
    return Kept(result.modified_count)


async def compare(database: Database, name: str) -> Compared:
    """Hold what `courses` or `users` say of their enrolments against the records there are, whoever keeps them."""
    key, path = _COUNTED[name]
    shown = {"from": name, "localField": "_id", "foreignField": "_id", "as": "shown"}
    differs = {"$and": [{"$isNumber": "$shown"}, {"$ne": ["$shown", "$records"]}]}
    pipeline: list[Document] = [
        {"$match": {key: {"$type": "objectId"}}},
        {"$group": {"_id": f"${key}", "records": {"$sum": 1}}},
        {"$lookup": {**shown, "pipeline": [{"$project": {"of": f"${path}"}}]}},
        {"$project": {"records": 1, "shown": {"$first": "$shown.of"}}},
        {"$match": {"$expr": differs}},
        {"$facet": {"all": [{"$count": "n"}], "some": [{"$limit": _MOST_SAMPLES}]}},
    ]
    with translated():
        [found] = await driver.aggregate(database.user_progress, pipeline, allowDiskUse=True)
    samples = [
        {"id": str(row["_id"]), "shown": _plain(row["shown"]), "records": row["records"]}
        for row in found["some"]
    ]
    return Compared(differ=found["all"][0]["n"] if found["all"] else 0, samples=samples)


def _plain(number: Any) -> int | float:
    """A number as JSON has it; one that is none there as 0."""
    value = float(number.to_decimal()) if isinstance(number, Decimal128) else number
    return value if math.isfinite(value) else 0
