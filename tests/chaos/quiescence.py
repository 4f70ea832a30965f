"""Whether everything that was published has come to its end: read, stored, folded, counted, sent, tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.chaos.target import committed, uncounted, unfolded
from tests.chaos.workload import PARTITIONS, Workload
from tests.chaos.world import GROUP, TOPIC, World
from worker.storage.database import Database
from worker.verify.run import verify

_OPEN_ROW = {"status": {"$in": ["pending", "taken"]}}
_OPEN_ITEM = {"status": {"$ne": "completed"}}


@dataclass(frozen=True, slots=True)
class Unfinished:
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


async def unfinished_at(world: World, workload: Workload, read: Mapping[str, int], at: float) -> Unfinished:
    """What was unfinished at `at`, when nobody has worked since; `read` are the next offsets not handed out yet."""
    return await _unfinished(world.database, workload.unread({**await next_offsets(world), **read}, at))


async def unfinished_now(world: World, workload: Workload) -> Unfinished:
    """What is unfinished: at quiescence nothing is, what follows some seconds after the last count included."""
    offsets = await next_offsets(world)
    unfinished = await _unfinished(
        world.database,
        sum(abs(end - offsets[f"{TOPIC}:{partition}"]) for partition, end in workload.ends().items()),
    )
    if unfinished.total:
        return unfinished
    seen = await verify(world.database)
    return replace(unfinished, uncounted=sum(each.behind for each in seen.by_projection.values()))


async def _unfinished(database: Database, unread: int) -> Unfinished:
    return Unfinished(
        unread=unread,
        unfolded=await unfolded(database),
        uncounted=await uncounted(database),
        unsent=await database.notifications.count_documents(_OPEN_ROW),
        untried=await database.analytics_queue.count_documents(_OPEN_ITEM),
    )
