"""Whether everything that was published has come to its end: read, stored, folded, counted, sent, tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tests.chaos.steps import PARTITIONS
from tests.chaos.target import uncounted_records, unfolded, waiting
from tests.chaos.workload import Workload
from tests.chaos.world import GROUP, World
from tests.support.kafka import durable_of
from worker.storage.database import Database, Document
from worker.storage.work_items import fold_type

_OPEN_ROW = {"status": {"$in": ["pending", "taken"]}}
# Of the items that keep a run from being finished so many are named.
_NAMED = 3
# What has lost a contest is named in the queue for as long as that lasts: no attempt has failed.
_LOST = ("Taken", "Held", "ClosesCycle")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What was unfinished at one moment, by what it waits for; `behind` is known where nothing else waits.

    `items` tells of a few of the `untried`: id, status and class of the failure.
    """

    unread: int
    unfolded: int
    uncounted: int
    unsent: int
    untried: int
    behind: int = 0
    items: Sequence[tuple[str, str, str]] = ()

    @property
    def total(self) -> int:
        return self.unread + self.unfolded + self.uncounted + self.unsent + self.untried + self.behind


async def next_offsets(world: World) -> dict[str, int]:
    """The group's, by `topic:partition`."""
    offsets = await durable_of(world.kafka.bootstrap_servers, PARTITIONS, GROUP)
    return {f"{topic}:{number}": offset or 0 for (topic, number), offset in offsets.items()}


async def unfinished_at(world: World, workload: Workload, read: Mapping[str, int], at: float) -> Unfinished:
    """What was unfinished at `at`, when nobody has worked since; `read` are the next offsets not handed out yet."""
    return await _unfinished(world.database, workload.unread({**await next_offsets(world), **read}, at))


async def unfinished_now(world: World, workload: Workload) -> Unfinished:
    """What is unfinished: at quiescence nothing is, what follows some seconds after the last count included."""
    offsets = await next_offsets(world)
    unread = sum(abs(end - offsets[place]) for place, end in workload.ends().items())
    unfinished = await _unfinished(world.database, unread)
    return unfinished if unfinished.total else replace(unfinished, behind=await waiting(world.database))


async def _unfinished(database: Database, unread: int) -> Unfinished:
    untried = _untried(database)
    some = (
        await database.analytics_queue.find(untried, {"status": 1, "error_class": 1})
        .limit(_NAMED)
        .to_list(None)
    )
    return Unfinished(
        unread=unread,
        unfolded=await unfolded(database),
        uncounted=await uncounted_records(database),
        unsent=await database.notifications.count_documents(_OPEN_ROW),
        untried=await database.analytics_queue.count_documents(untried),
        items=[(str(each["_id"]), each["status"], str(each.get("error_class"))) for each in some],
    )


def _untried(database: Database) -> Document:
    contests = [fold_type(each.name) for each in database.catalogue.contests]
    lost = {"event_type": {"$in": contests}, "error_class": {"$in": list(_LOST)}}
    return {"status": {"$ne": "completed"}, "$nor": [lost]}
