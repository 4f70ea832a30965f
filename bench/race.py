"""One run of one contestant, watched from outside: from its first fetch until everything is stored."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from bench.contestants.field import Contestant
from bench.contestants.task import FETCHING, Task
from bench.fixture import CLOCK, Fixture
from bench.processes import Usage, usage
from bench.records import Workload
from worker.devstack.servers.process import ServerProcess, spawn
from worker.errors import Fatal
from worker.storage import driver
from worker.storage.database import Collection, Database

POLL_S = 0.04  # how finely begin and end are seen: 1 % of a run of four seconds
FAR_S = 0.1  # and how often it is looked before four fifths of the work are done
NEAR = 0.8
BEGIN_LIMIT_S = 120.0
RUN_LIMIT_S = 900.0
GRACE_S = 40.0  # above the worker's drain deadline


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of one run. CPU is that of the time from the first fetch until all was stored.

    `stored_bytes` is what one event takes on disk, indexes included. `wrong` says what was not as it must be
    afterwards; such a run has no rate.
    """

    contestant: str
    events: int
    seconds: float
    cpu_s: float
    mongod_cpu_s: float
    peak_bytes: int
    stored_bytes: float
    wrong: str = ""

    @property
    def rate(self) -> float:
        """Events a second."""
        return 0.0 if self.wrong else self.events / self.seconds


async def run_once(given: Fixture, contestant: Contestant, topic: str, workload: Workload) -> Run:
    """A run on databases of its own."""
    async with given.run(topic) as (task, database):
        await _prepare(database, contestant, workload)
        return await observe(given, contestant, task, database, workload.events)


async def observe(
    given: Fixture, contestant: Contestant, task: Task, database: Database, events: int, *, before: int = 0
) -> Run:
    """1. start it  2. wait for its first fetch  3. until all is stored  4. stop it  5. check.

    `before` is what the collections held already. Raises StartFailed with the log's tail for a contestant that ends,
    Fatal for one that does not get there.
    """
    folder = given.folder / task.group
    folder.mkdir()
    # 1.
    start = await contestant.start(folder, task)
    process = spawn(contestant.name, start.command, folder / "log", start.environment)
    try:
        # 2.
        began = await _begun(process, contestant.begins)
        own, server = usage(process.pid), usage(given.mongod.process.pid)
        # 3.
        ended, after = await _stored(database, contestant, before + events, process)
        server_after = usage(given.mongod.process.pid)
    finally:
        # 4.
        await asyncio.to_thread(process.stop, GRACE_S)
    # 5.
    wrong = await _wrong(database, contestant, before + events)
    return Run(
        contestant=contestant.name,
        events=events,
        seconds=ended - began,
        cpu_s=after.cpu_s - own.cpu_s,
        mongod_cpu_s=server_after.cpu_s - server.cpu_s,
        peak_bytes=after.peak_bytes,
        stored_bytes=await _size(given, database) / (before + events),
        wrong=wrong,
    )


async def _size(given: Fixture, database: Database) -> float:
    """Bytes on disk of both collections and their indexes, once everything is written out."""
    await given.client.admin.command("fsync")
    sizes = [
        (await home.command("collStats", name))["totalSize"]
        for home, name in ((database.content, "course_events"), (database.analytics, "user_interactions"))
    ]
    return float(sum(sizes))


async def _prepare(database: Database, contestant: Contestant, workload: Workload) -> None:
    if not contestant.validated:
        await database.content.command("collMod", "course_events", validationLevel="off")
    if contestant.plain:
        await database.user_interactions.drop()
        await database.user_interactions.create_index([("metadata.user_id", 1), ("timestamp", -1)])
    if contestant.done == "projected":
        courses, users = await asyncio.to_thread(workload.platform)
        await database.courses.insert_many(courses)
        await database.users.insert_many(users)


async def _begun(process: ServerProcess, mark: str) -> float:
    """When the mark appeared in its output, in monotonic seconds; its own figure where it gives one."""
    end = CLOCK.monotonic() + BEGIN_LIMIT_S
    while CLOCK.monotonic() < end:
        line = next((each for each in _lines(process.log) if mark in each), None)
        if line is not None:
            return float(line.split()[1]) if mark == FETCHING else CLOCK.monotonic()
        process.require_alive()
        await CLOCK.sleep(POLL_S)
    raise Fatal(f"{process.name} did not begin; its log says:\n{process.log_tail()}")


def _lines(log: Path) -> list[str]:
    """Whole lines only: the last one may still be written."""
    return log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


async def _stored(
    database: Database, contestant: Contestant, events: int, process: ServerProcess
) -> tuple[float, Usage]:
    """When everything was there, and what the process had used by then."""
    end = CLOCK.monotonic() + RUN_LIMIT_S
    while CLOCK.monotonic() < end:
        reached = await progress(database, contestant, events)
        if reached >= events:
            return CLOCK.monotonic(), usage(process.pid)
        if process.returncode not in (None, 0):
            process.require_alive()
        await CLOCK.sleep(POLL_S if reached >= NEAR * events else FAR_S)
    raise Fatal(f"{process.name} stored {reached} of {events}; its log says:\n{process.log_tail()}")


async def progress(database: Database, contestant: Contestant, events: int) -> int:
    """How many events have everything that the contestant makes of them; exact from `events` on.

    The cheapest questions come first and the next ones only when those are answered: what watches must not slow down
    what it watches. Contestants write an event before its row, and both before what is made of them.
    """
    if contestant.done != "rows":
        stored = await database.course_events.estimated_document_count()
        if stored < events:
            return stored
    reached = await _rows(database, plain=contestant.plain)
    if contestant.done == "projected" and reached >= events:
        reached = await _sum(database.user_progress, "$version")
        if reached >= events:
            reached = await _sum(database.user_progress_projections, "$last_event_version")
    return reached


async def _rows(database: Database, *, plain: bool) -> int:
    """Rows of `user_interactions`, from the server's own counting: reading a time series would cost the run."""
    if plain:
        return await database.user_interactions.estimated_document_count()
    statistics = await database.analytics.command("collStats", "user_interactions")
    return int(statistics["timeseries"].get("numMeasurementsCommitted", 0))


async def _sum(collection: Collection, field: str) -> int:
    found = await driver.aggregate(collection, [{"$group": {"_id": None, "sum": {"$sum": field}}}])
    return int(found[0]["sum"]) if found else 0


async def _wrong(database: Database, contestant: Contestant, events: int) -> str:
    """What the collections hold after the end, counted in full; empty when it is as it must be."""
    counted = {"user_interactions": await database.user_interactions.count_documents({})}
    if contestant.done != "rows":
        counted["course_events"] = await database.course_events.count_documents({})
    return ", ".join(f"{name}: {count} of {events}" for name, count in counted.items() if count != events)
