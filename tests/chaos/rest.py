"""Whether everything that was published has come to its end: read, stored, folded, counted, sent, tried again."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.feed import PARTITIONS, Feed
from tests.chaos.victim import committed, uncounted
from tests.chaos.world import GROUP, TOPIC, World
from worker.storage.database import Database
from worker.storage.driver import aggregate

_OPEN_ROW = {"status": {"$in": ["pending", "taken"]}}
_OPEN_ITEM = {"status": {"$ne": "completed"}}


@dataclass(frozen=True, slots=True)
class Open:
    """What was unfinished at one moment, by what it waits for."""

    unread: int
    unfolded: int
    uncounted: int
    unsent: int
    untried: int

    @property
    def total(self) -> int:
        return self.unread + self.unfolded + self.uncounted + self.unsent + self.untried


async def next_offsets(world: World) -> dict[str, int]:
    """The group's, by `topic:partition`."""
    return await committed(world.kafka.bootstrap_servers, TOPIC, GROUP, PARTITIONS)


async def open_at(world: World, feed: Feed, read: Mapping[str, int], at: float) -> Open:
    """What was unfinished at `at`, when nobody has worked since; `read` are the next offsets not handed out yet."""
    return await _open(world.database, feed.unread({**await next_offsets(world), **read}, at))


async def open_now(world: World, feed: Feed) -> Open:
    """What is unfinished: at rest nothing is."""
    offsets = await next_offsets(world)
    return await _open(
        world.database,
        sum(abs(end - offsets[f"{TOPIC}:{partition}"]) for partition, end in feed.ends().items()),
    )


async def _open(database: Database, unread: int) -> Open:
    return Open(
        unread=unread,
        unfolded=await _unfolded(database),
        uncounted=await uncounted(database),
        unsent=await database.notifications.count_documents(_OPEN_ROW),
        untried=await database.analytics_queue.count_documents(_OPEN_ITEM),
    )


async def _unfolded(database: Database) -> int:
    """Stored versions that no progress document holds; versions are dense, so sums decide."""
    rows = await aggregate(
        database.user_progress, [{"$group": {"_id": None, "versions": {"$sum": "$version"}}}]
    )
    folded = rows[0]["versions"] if rows else 0
    return max(0, await database.course_events.count_documents({}) - int(folded))
