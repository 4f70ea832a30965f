"""What somebody else may have done to stored documents: what a job then has to mend, and so to write."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from worker.storage.database import Collection, Database
from worker.verify.run import YOUNG

Damage = Callable[[Database, Random], Awaitable[int]]

_SOME = 3
# By then the group has committed the record of an event.
_COMMITTED = timedelta(seconds=5)


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


async def documents(database: Database, random: Random) -> int:
    """Learners' documents are wrong; so are some of their accounts, and some of their payments are gone."""
    ids = await _some(database.users, random, {"version": {"$gt": 0}})
    await database.users.update_many(
        {"_id": {"$in": list(ids)}}, {"$unset": {"search_fields": ""}, "$set": {"rev": 9_000}}
    )
    paid = await _some(database.billing_transactions, random)
    await database.billing_transactions.delete_many({"_id": {"$in": list(paid)}})
    return await records(database, random)


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
    """A few learners have no rows of the time series any more.

    Of an event that was stored just now, a row that is missing is on its way: no job mends it yet. Learners of such
    events are spared, where there are others.
    """
    young = {"recorded_at": {"$gte": datetime.now(UTC) - YOUNG}}
    busy = await database.course_events.distinct("event_data.user_id", young)
    of_old: dict[str, Any] = {"version": {"$gt": 0}, "user_id": {"$nin": busy}}
    learners = await _some(database.user_progress, random, of_old)
    learners = learners or await _some(database.user_progress, random, {"version": {"$gt": 0}})
    users = await database.user_progress.distinct("user_id", {"_id": {"$in": list(learners)}})
    # A time series can be deleted from by its metadata only, and tells nothing of how many rows that were.
    await database.user_interactions.delete_many({"metadata.user_id": {"$in": users}})
    return len(users)


async def notifications(database: Database, random: Random) -> int:
    """Rows of the outbox are gone that were sent."""
    ids = await _some(database.notifications, random, {"status": "sent"})
    return (await database.notifications.delete_many({"_id": {"$in": list(ids)}})).deleted_count


async def lost(database: Database, random: Random) -> int:
    """Learners who are done have lost their last event and all their rows, and a few dead letters are gone.

    Their documents stand, so that nothing of it is met again when the events come back, each under the version that
    it had: for that, of such a stream the store has refused nothing.
    """
    before = datetime.now(UTC) - _COMMITTED
    holes = await database.course_events.distinct("stream_id", {"event_type": "void"})
    done = {"event_type": "course_rated", "recorded_at": {"$lt": before}, "stream_id": {"$nin": holes}}
    events = list(await _some(database.course_events, random, done))
    stored = {"kind": "record", "created_at": {"$lt": before}}
    letters = list(await _some(database.dead_letters, random, stored))
    users = await database.course_events.distinct("event_data.user_id", {"_id": {"$in": events}})
    await database.user_interactions.delete_many({"metadata.user_id": {"$in": users}})
    gone = [
        await database.course_events.delete_many({"_id": {"$in": events}}),
        await database.dead_letters.delete_many({"_id": {"$in": letters}}),
    ]
    return min(each.deleted_count for each in gone)


async def much(database: Database, random: Random) -> int:
    """All of it at once."""
    done = [await each(database, random) for each in (records, projections, rows, notifications)]
    return min(done)
