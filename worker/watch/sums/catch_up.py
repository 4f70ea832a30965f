"""Whole collections page by page, for when the change stream cannot tell what was missed."""

from collections.abc import AsyncGenerator
from typing import Any

from bson import ObjectId

from worker.storage import reading
from worker.storage.database import Collection, Document

# A page takes some 50 ms to compare.
_PER_PAGE = 5_000


async def pages(
    collection: Collection, *paths: str, after: ObjectId | None = None, most: int = _PER_PAGE
) -> AsyncGenerator[dict[ObjectId, tuple[Any, ...]]]:
    """Every document's `_id` and some fields, in the order of `_id`; of one that cannot be read the `_id` alone.

    Those behind `after` only, if it is given. Each page, of so many documents at `most`, is a query of its own.
    """
    identity: Document = {"$type": "objectId"} if after is None else {"$gt": after}
    while True:
        found = await reading.find(
            collection,
            {"_id": identity},
            dict.fromkeys(("_id", *paths), 1),
            sort=[("_id", 1)],
            limit=most,
        )
        rows: dict[Any, tuple[Any, ...]] = {
            row["_id"]: tuple(row.get(path) for path in paths) for row in found.documents
        }
        rows |= {one.id: () for one in found.unreadable}
        if not rows:
            return
        yield rows
        identity = {"$gt": max(rows)}
