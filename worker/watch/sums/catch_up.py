"""What counting may have missed: everything compared, page by page, for when the change stream cannot tell."""

from collections.abc import AsyncGenerator
from typing import Any

from bson import ObjectId

from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import DirtyKeys

Values = tuple[Any, ...]

# A page takes some 50 ms to compare.
_PER_PAGE = 5_000


async def missed(database: Database, counts_version: int) -> AsyncGenerator[DirtyKeys]:
    """Pages of learners whose record is not counted as it stands, or is gone, then of all courses and users.

    Courses and users whose sums are right cost a read and no write. Only what had a majority when this was
    called is certain to be seen: put a barrier before it.
    """
    async for learners in pages(database.user_progress, "rev", "version"):
        counted = await _counted(database, list(learners), counts_version)
        behind = (identity for identity, state in learners.items() if counted.get(identity) != state)
        yield DirtyKeys(learners=frozenset(behind))
    async for projections in pages(database.user_progress_projections):
        yield DirtyKeys(learners=frozenset(projections.keys() - await _recorded(database, list(projections))))
    # Courses that are gone, too: their instructors no longer have them.
    yield DirtyKeys(courses=frozenset(await WriteConflictMarkers(database).credited_courses()))
    async for courses in pages(database.courses):
        yield DirtyKeys(courses=frozenset(courses))
    async for users in pages(database.users):
        yield DirtyKeys(users=frozenset(users))


async def _counted(database: Database, learners: list[ObjectId], version: int) -> dict[ObjectId, Values]:
    query = {"_id": {"$in": learners}, "counts_version": {"$gte": version}}
    paths = {"source_rev": 1, "last_event_version": 1}
    found = await reading.find(database.user_progress_projections, query, paths)
    taken = found.through(lambda row: (row["_id"], (row["source_rev"], row["last_event_version"])))
    return dict(taken.values)


async def _recorded(database: Database, learners: list[ObjectId]) -> set[Any]:
    found = await reading.find(database.user_progress, {"_id": {"$in": learners}}, {"_id": 1})
    return {row["_id"] for row in found.documents} | {one.id for one in found.unreadable}


async def pages(collection: Collection, *paths: str) -> AsyncGenerator[dict[ObjectId, Values]]:
    """Every document's `_id` and some fields, in the order of `_id`; of one that cannot be read the `_id` alone."""
    identity: Document = {"$type": "objectId"}
    while True:
        found = await reading.find(
            collection,
            {"_id": identity},
            dict.fromkeys(("_id", *paths), 1),
            sort=[("_id", 1)],
            limit=_PER_PAGE,
        )
        rows: dict[Any, Values] = {
            row["_id"]: tuple(row.get(path) for path in paths) for row in found.documents
        }
        rows |= {one.id: () for one in found.unreadable}
        if not rows:
            return
        yield rows
        identity = {"$gt": max(rows)}
