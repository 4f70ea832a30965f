"""What somebody else may have done to stored documents: what a job then has to mend, and so to write."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from worker.storage.database import Collection, Database

Damage = Callable[[Database, Random], Awaitable[int]]

_SOME = 3


async def _some(collection: Collection, random: Random, query: dict[str, Any] | None = None) -> Sequence[Any]:
    """The `_id`s of a few documents."""
    ids = await collection.distinct("_id", query or {})
    return random.sample(sorted(ids, key=str), min(_SOME, len(ids)))


async def records(database: Database, random: Random) -> int:
    """Learners' documents show a time that no event tells of."""
    ids = await _some(database.user_progress, random, {"version": {"$gt": 0}})
    changed = await database.user_progress.update_many(
        {"_id": {"$in": ids}}, {"$inc": {"time_tracking.total_seconds": 1_000.0}, "$set": {"rev": 9_000}}
    )
    return changed.modified_count


async def projections(database: Database, random: Random) -> int:
    """What was counted of learners is not what their records say."""
    ids = await _some(database.user_progress_projections, random)
    changed = await database.user_progress_projections.update_many(
        {"_id": {"$in": ids}}, {"$inc": {"counted.discussion_posts": 5}}
    )
    return changed.modified_count


async def nothing(database: Database, random: Random) -> int:
    """For jobs that write whether something is wrong or not."""
    return 1


async def rows(database: Database, random: Random) -> int:
    """A few learners have no rows of the time series any more."""
    learners = await _some(database.user_progress, random, {"version": {"$gt": 0}})
    users = await database.user_progress.distinct("user_id", {"_id": {"$in": list(learners)}})
    # A time series can be deleted from by its metadata only, and tells nothing of how many rows that were.
    await database.user_interactions.delete_many({"metadata.user_id": {"$in": users}})
    return len(users)


async def notifications(database: Database, random: Random) -> int:
    """Rows of the outbox are gone that were sent."""
    ids = await _some(database.notifications, random, {"status": "sent"})
    return (await database.notifications.delete_many({"_id": {"$in": list(ids)}})).deleted_count


async def much(database: Database, random: Random) -> int:
    """All of it at once."""
    done = [await each(database, random) for each in (records, projections, rows, notifications)]
    return min(done)
