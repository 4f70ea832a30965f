"""One trial of `rebuild` on a system of its own: MongoDB, a worker that follows and counts, a history, and a load."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.replay.commands import Commands, Ended
from tests.replay.history import History
from tests.replay.judge import found_by_verify, said_by_oracle
from tests.replay.load import Seen, load
from tests.support.progress import highest_versions
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.storage import driver
from worker.storage.database import Database, make_client, open_database
from worker.storage.schema import apply_schema

# A page of learners is folded in seconds; the whole history in minutes.
_LIMIT_S = 1_800.0
_KILLED = -9
WRONG_FOLD = "tests.support.wrong_fold:WRONG"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a trial is: `kills` of the rebuild under load, so much `load` a second, also `quiet_s` before it."""

    events: int
    learners: int
    courses: int = 20
    kills: int = 10
    load: int = 50
    quiet_s: float = 30.0
    seed: int = 7


@dataclass(slots=True)
class Report:
    """What was measured, and everything that is wrong."""

    size: Size
    quiet_p99_s: float = 0.0
    loaded_p99_s: float = 0.0
    reads: int = 0
    missed: int = 0
    went_back: int = 0
    kills: int = 0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, name: str, ended: Ended, done: int) -> None:
        """One command: how long it took, what it cost, and how much it did in each second, and in one of CPU."""
        self.runs[name] = {
            "seconds": round(ended.seconds, 1),
            "cpu_s": round(ended.cpu_s, 1),
            "peak_mib": round(ended.peak_bytes / 2**20),
            "done": done,
            "a_second": round(done / ended.seconds),
            "a_second_of_cpu": round(done / max(0.01, ended.cpu_s)),
            "a_second_of_work": round(done / max(0.01, float(ended.summary.get("seconds") or ended.seconds))),
        }
        if ended.code not in (0, 1):
            self.wrong.append(f"{name} ended with {ended.code}: {ended.errors}")

    @property
    def slower(self) -> float:
        """By how much the 99th percentile of freshness grew under the rebuild."""
        return round(self.loaded_p99_s / max(0.001, self.quiet_p99_s), 2)

    def to_json(self) -> Mapping[str, Any]:
        return {
            **asdict(self),
            "p99_grew": self.slower,
            "wrong": self.wrong[:50],
            "wrongs": len(self.wrong),
        }


@dataclass(frozen=True, slots=True)
class System:
    """What a trial works on."""

    database: Database
    commands: Commands
    worker: WorkerProbe
    history: History

    async def quiesce(self) -> dict[str, int]:
        """Wait until every document, and what is counted of it, has all of its events; returns the versions."""
        heads = await highest_versions(self.database)

        async def current() -> bool:
            self.worker.require_alive()
            total = sum(heads.values())
            return all(
                [
                    await _sum(self.database, "user_progress", "version") == total,
                    await _sum(self.database, "user_progress_projections", "last_event_version") == total,
                    await _uncounted(self.database) == 0,
                ]
            )

        await until(current, "everything folded and counted", _LIMIT_S)
        return heads

    async def command(self, *arguments: str, kill_after_s: float | None = None) -> Ended:
        """A command to its end, or for so long."""
        return await asyncio.to_thread(self.commands.run, *arguments, kill_after_s=kill_after_s)

    async def damage(self) -> None:
        """Every document shows a percentage that is none of its events', in a revision of its own."""
        wrong = {"$set": {"progress.percentage": 1.5}, "$inc": {"rev": 1}}
        await self.database.user_progress.update_many({}, wrong)


async def run_trial(size: Size) -> Report:
    """Have documents damaged and mended, promoted and taken back, and measure it.

    1. store the history and let it be folded and counted  2. load alone  3. damage every document, and mend it under
    load, killed again and again; what the damage costs is over before the load begins  4. compare everything
    5. measure each command alone: a dry run, one that finds all right, one that replaces all, counts  6. a wrong fold
    beside, promoted, and taken back
    """
    report = Report(size)
    async with system(size) as world:
        await world.history.store(world.database, size.events)  # 1
        known = await world.quiesce()
        quiet = Seen()
        async with load(world.database, world.history, known, size.load, quiet):  # 2
            await asyncio.sleep(size.quiet_s)
        report.quiet_p99_s = quiet.quantile_s(0.99)
        await _mended_under_load(world, size, report)  # 3
        heads = await world.quiesce()
        report.wrong += await said_by_oracle(world.database)  # 4
        report.wrong += await found_by_verify(world.database)
        events = sum(heads.values())
        await _measured(world, report, events)  # 5
        await _promoted_and_taken_back(world, report, events)  # 6
    return report


async def _mended_under_load(world: System, size: Size, report: Report) -> None:
    random = Random(size.seed)  # noqa: S311  # when to kill, not a secret
    longest_s, seen = max(4.0, size.events / 24_000), Seen()
    while report.kills < size.kills and not report.wrong:
        await world.damage()
        known = await world.quiesce()
        async with load(world.database, world.history, known, size.load, seen):
            longest_s = await _mended(world, size, report, random, longest_s)
        left = await world.database.user_progress.count_documents({"progress.percentage": 1.5})
        if left:
            report.wrong.append(f"{left} documents are damaged after the rebuild")
    report.loaded_p99_s = seen.quantile_s(0.99)
    report.reads, report.missed, report.went_back = seen.reads, seen.missed, seen.went_back
    if seen.missed or seen.went_back:
        report.wrong.append(f"{seen.missed} missed, {seen.went_back} went back")


async def _mended(world: System, size: Size, report: Report, random: Random, longest_s: float) -> float:
    """The rebuild to its end, killed on the way while kills are left; returns how long its last attempt took.

    Once the kills are used up, the last attempt goes on to its end and is noted.
    """
    while True:
        after_s = random.uniform(0.5, longest_s) if report.kills < size.kills else None
        ended = await world.command("rebuild", "progress", "--json", kill_after_s=after_s)
        if ended.code == _KILLED:
            report.kills += 1
            continue
        report.note("mended under load, from where it was killed", ended, 0)
        return max(1.0, ended.seconds)


async def _measured(world: System, report: Report, events: int) -> None:
    dry = await world.command("rebuild", "progress", "--dry-run", "--json")
    report.note("dry run, events", dry, events)
    right = await world.command("rebuild", "progress", "--json")
    report.note("all right, events", right, events)
    if dry.code or right.summary.get("counts", {}).get("changed"):
        report.wrong.append(f"something was wrong after it was mended: {dry.summary.get('counts')}")
    await world.damage()
    report.note("all replaced, events", await world.command("rebuild", "progress", "--json"), events)
    await world.quiesce()
    counts = await world.command("rebuild", "counts", "--json")
    report.note("counts, documents", counts, counts.summary.get("counts", {}).get("documents", 0))


async def _promoted_and_taken_back(world: System, report: Report, events: int) -> None:
    before = await _shown(world.database)
    built = await world.command("rebuild", "progress", "--into", "trial", "--fold", WRONG_FOLD, "--json")
    report.note("built beside, events", built, events)
    promoted = await world.command("promote", "trial", "--json")
    done = promoted.summary.get("counts", {}).get("promoted", 0)
    report.note("promoted, documents", promoted, done)
    undone = await world.command("rollback", str(promoted.summary.get("run")), "--json")
    report.note("rolled back, documents", undone, undone.summary.get("counts", {}).get("restored", 0))
    if not done or await _shown(world.database) != before:
        report.wrong.append(f"not as before the promotion of {done}")
    await world.quiesce()
    report.wrong += await said_by_oracle(world.database)


async def _shown(database: Database) -> dict[Any, Any]:
    """A digest of each document, but for what a write always changes."""
    shown: dict[Any, Any] = {}
    async for document in database.user_progress.find({}, {"rev": 0, "recorded_at": 0}):
        shown[document.pop("_id")] = hash(repr(document))
    return shown


@contextlib.asynccontextmanager
async def system(size: Size) -> AsyncIterator[System]:
    """Everything that a trial needs, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="replay-") as name:
        folder = Path(name)
        mongod = await start_mongod(folder)
        client = make_client(mongod.uri)
        settings = {
            "SEVENP_MONGODB_URI": mongod.uri,
            "SEVENP_DATABASE_PREFIX": "replay",
            "SEVENP_ROLES": "progress,counts",
            "SEVENP_JOBS_LEASE_S": "2",
            "SEVENP_NOTIFY_WITHIN_HOURS": "1",
        }
        worker: WorkerProbe | None = None
        try:
            database = open_database(client, "replay")
            await apply_schema(database)
            history = History(size.learners, size.courses)
            await history.store_platform(database)
            worker = start_worker(folder, settings)
            yield System(database, Commands(folder, settings), worker, history)
        finally:
            if worker is not None and worker.process is not None:
                worker.process.stop()
            await driver.close(client)
            mongod.stop()


async def _sum(database: Database, collection: str, path: str) -> int:
    total = [{"$group": {"_id": None, "sum": {"$sum": f"${path}"}}}]
    found = await driver.aggregate(database.collection(collection), total)
    return int(found[0]["sum"]) if found else 0


async def _uncounted(database: Database) -> int:
    """Documents of which another revision was counted than stands there."""
    revisions: Sequence[Mapping[str, Any]] = [
        {"$group": {"_id": None, "sum": {"$sum": "$rev"}}},
    ]
    live = await driver.aggregate(database.user_progress, revisions)
    counted = await _sum(database, "user_progress_projections", "source_rev")
    return (int(live[0]["sum"]) if live else 0) - counted
