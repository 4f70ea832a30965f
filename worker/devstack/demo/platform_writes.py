"""Writes what the platform writes by itself in the demo, and waits for what has to follow from it.

Where others keep courses or users, that is their documents; where the worker does, a figure that nobody else has.
"""

from collections.abc import Callable, Iterable, Sequence

from bson import ObjectId
from pymongo import UpdateOne

from worker.devstack.demo.arrival import POLL_S, Stalled
from worker.devstack.simulator.platform_documents import PROFILE_VIEWS, PlatformDocument
from worker.devstack.simulator.simulation import Simulation
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.timing import Clock

STATISTICS_LIMIT_S = 30.0  # promised within 5; a machine may be busy with other things
OUTBOX_LIMIT_S = 30.0  # the demo's log takes thousands a second
_UNSENT = {"status": {"$in": ["pending", "taken"]}}


async def write_platform(database: Database, documents: Iterable[PlatformDocument]) -> None:
    """Insert what is not there; a document that is there, from an earlier run, stays as it is."""
    writes: dict[str, list[UpdateOne]] = {}
    for each in documents:
        fields = {name: value for name, value in each.document.items() if name != "_id"}
        write = UpdateOne({"_id": each.document["_id"]}, {"$setOnInsert": fields}, upsert=True)
        writes.setdefault(each.collection, []).append(write)
    with translated():
        for collection, some in writes.items():
            await database.collection(collection).bulk_write(some, ordered=False)


async def write_own_figures(database: Database, simulation: Simulation) -> None:
    """A figure of the platform's own in the documents of instructors that are there: nobody else may touch it."""
    ids = [ObjectId(each.user_id) for each in simulation.totals.instructors]
    with translated():
        await database.users.update_many(
            {"_id": {"$in": ids}}, {"$set": {"stats.profile_views": PROFILE_VIEWS}}
        )


async def until_statistics(
    database: Database,
    documents: Sequence[PlatformDocument],
    clock: Clock,
    require_alive: Callable[[], None],
) -> float:
    """Seconds until every one of these documents shows statistics. Raises Stalled if one never does."""
    started = clock.monotonic()
    while missing := await _without_statistics(database, documents):
        require_alive()
        if clock.monotonic() - started > STATISTICS_LIMIT_S:
            raise Stalled(f"no statistics after {STATISTICS_LIMIT_S:.0f} s: {missing}")
        await clock.sleep(POLL_S)
    return clock.monotonic() - started


async def until_sent(database: Database, clock: Clock, require_alive: Callable[[], None]) -> int:
    """Wait until nothing in the outbox waits, or for half a minute; the number of rows that still do."""
    end = clock.monotonic() + OUTBOX_LIMIT_S
    while True:
        require_alive()
        with translated():
            waiting = await database.notifications.count_documents(_UNSENT)
        if waiting == 0 or clock.monotonic() > end:
            return waiting
        await clock.sleep(POLL_S)


async def _without_statistics(database: Database, documents: Sequence[PlatformDocument]) -> list[str]:
    missing: list[str] = []
    for collection in ("courses", "users"):
        ids = [each.document["_id"] for each in documents if each.collection == collection]
        query = {"_id": {"$in": ids}, "stats.sums": {"$exists": False}}
        with translated():
            found = await database.collection(collection).find(query, {"_id": 1}).to_list(None)
        missing += [f"{collection} {document['_id']}" for document in found]
    return missing
