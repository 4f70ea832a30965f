"""How fast all records are folded again after a deployment raised the projection version."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contestants.field import Contestant, with_environment, worker_with
from bench.contestants.limit import read_file
from bench.contestants.ours import PROJECTION_VERSION as VERSION_VARIABLE
from bench.contestants.task import Task
from bench.fixture import CLOCK, Fixture
from bench.processes import usage
from projections.progress import PROJECTION_VERSION
from worker.devstack.servers.process import ServerProcess, spawn
from worker.errors import Fatal
from worker.storage import driver
from worker.storage.database import Database

_BATCH = 5_000
_POLL_S = 0.1
_LIMIT_S = 900.0
_GRACE_S = 40.0
PROGRESS = Contestant("ours: progress", "records only", worker_with("progress"))
RAISED = PROJECTION_VERSION + 1


@dataclass(frozen=True, slots=True)
class Refold:
    """`events` were folded again in `seconds`, from the first record that was seen new until the last one."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


async def measure_refold(given: Fixture, topic: str, documents: Path, events: int) -> Refold:
    """1. events into the store  2. fold them under the present version  3. start under the next one, and watch."""
    async with given.run(topic) as (task, database):
        # 1.
        stored = read_file(documents / "events.bson")[:events]
        for start in range(0, len(stored), _BATCH):
            await database.course_events.insert_many(stored[start : start + _BATCH], ordered=False)
        # 2.
        await _folded(given, task, database, PROGRESS, PROJECTION_VERSION, len(stored))
        # 3.
        raised = with_environment(PROGRESS, {VERSION_VARIABLE: str(RAISED)})
        return await _folded(given, task, database, raised, RAISED, len(stored))


async def _folded(
    given: Fixture, task: Task, database: Database, contestant: Contestant, version: int, events: int
) -> Refold:
    """Run the worker until all events are folded under this version."""
    folder = given.folder / f"{task.group}-fold-{version}"
    folder.mkdir()
    start = await contestant.start(folder, task)
    process = spawn(contestant.name, start.command, folder / "log", start.environment)
    try:
        first = await _reaches(database, version, 1, process)
        before = usage(process.pid)
        last = await _reaches(database, version, events, process)
        after = usage(process.pid)
    finally:
        await asyncio.to_thread(process.stop, _GRACE_S)
    return Refold(last.events - first.events, last.at - first.at, after.cpu_s - before.cpu_s)


@dataclass(frozen=True, slots=True)
class _Seen:
    """So many events were folded under the version at this time."""

    events: int
    at: float


async def _reaches(database: Database, version: int, events: int, process: ServerProcess) -> _Seen:
    pipeline: Sequence[dict[str, object]] = [
        {"$match": {"projection_version": version}},
        {"$group": {"_id": None, "events": {"$sum": "$version"}}},
    ]
    end = CLOCK.monotonic() + _LIMIT_S
    while CLOCK.monotonic() < end:
        found = await driver.aggregate(database.user_progress, pipeline)
        seen = _Seen(found[0]["events"] if found else 0, CLOCK.monotonic())
        if seen.events >= events:
            return seen
        process.require_alive()
        await CLOCK.sleep(_POLL_S)
    raise Fatal(f"{process.name} folded {seen.events} of {events}; its log says:\n{process.log_tail()}")
