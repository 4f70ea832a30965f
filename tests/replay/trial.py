"""One trial of `rebuild` on a system of its own: MongoDB, a worker that follows and counts, a history, and a load."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.trials.commands import Ended
from tests.support.trials.history import History
from tests.support.trials.judge import found_by_oracle, found_by_verify
from tests.support.trials.load import load
from tests.support.trials.report import Report, Size
from tests.support.trials.system import KILLED, System, system
from worker.storage.database import Database

WRONG_FOLD = "tests.support.wrong_fold:WRONG"
_MOST_MIB = 256  # what a process with all roles may take (bench/goals.py)
_LEAST_A_SECOND = 3_000  # documents put back: those of 20,000 learners in seven seconds
# By it is guessed how long an attempt takes, until one has come to its end: kills are to fall within it.
_EVENTS_A_SECOND = 24_000
_WRONG_PERCENTAGE = 1.5  # what a document of the history hardly shows by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySize(Size):
    """How large a trial is: the `kills` are of the rebuild under load."""

    events: int
    learners: int
    courses: int = 20
    kills: int = 10


@dataclass(kw_only=True)
class ReplayReport(Report):
    """What each command cost besides."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

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

    def beyond(self) -> list[str]:
        rolled_back = self.runs["rolled back, documents"]["a_second_of_work"]
        bounds = {
            **{
                f"{name} took {run['peak_mib']} MiB": run["peak_mib"] <= _MOST_MIB
                for name, run in self.runs.items()
            },
            f"{rolled_back} documents a second were put back": rolled_back >= _LEAST_A_SECOND,
        }
        return [*super().beyond(), *(words for words, kept in bounds.items() if not kept)]

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "runs": self.runs}


async def run_trial(size: ReplaySize) -> ReplayReport:
    """Have documents damaged and mended, promoted and taken back, and measure it.

    1. store the history and let it be folded and counted  2. load alone  3. damage every document, and mend it under
    load, killed again and again; what the damage costs is over before the load begins  4. compare everything
    5. measure each command alone: a dry run, one that finds all right, one that replaces all, counts  6. a wrong fold
    beside, promoted, and taken back
    """
    report = ReplayReport()
    history = History(size.learners, size.courses)
    async with system(history, {"SEVENP_ROLES": "progress,counts"}) as world:
        await world.history.store(world.database, size.events)  # 1
        known = await world.quiesce()
        async with load(world.database, world.history, known, size.load, report.quiet):  # 2
            await asyncio.sleep(size.quiet_s)
        await _mended_under_load(world, size, report)  # 3
        heads = await world.quiesce()
        report.wrong += await found_by_oracle(world.database)  # 4
        report.wrong += await found_by_verify(world)
        events = sum(heads.values())
        await _measured(world, report, events)  # 5
        await _promoted_and_taken_back(world, report, events)  # 6
    return report


async def _damage(database: Database) -> None:
    """Every document shows a percentage that is none of its events', in a revision of its own."""
    wrong: Mapping[str, Any] = {"$set": {"progress.percentage": _WRONG_PERCENTAGE}, "$inc": {"rev": 1}}
    await database.user_progress.update_many({}, wrong)


async def _mended_under_load(world: System, size: ReplaySize, report: ReplayReport) -> None:
    random = Random(size.seed)  # noqa: S311  # when to kill, not a secret
    longest_s = max(4.0, size.events / _EVENTS_A_SECOND)
    while report.kills < size.kills and not report.wrong:
        await _damage(world.database)
        known = await world.quiesce()
        async with load(world.database, world.history, known, size.load, report.loaded):
            longest_s = await _mended(world, size, report, random, longest_s)
        left = await world.database.user_progress.count_documents({"progress.percentage": _WRONG_PERCENTAGE})
        if left:
            report.wrong.append(f"{left} documents are damaged after the rebuild")
    report.note_readers()


async def _mended(
    world: System, size: ReplaySize, report: ReplayReport, random: Random, longest_s: float
) -> float:
    """The rebuild to its end, killed on the way while kills are left; returns how long its last attempt took.

    Once the kills are used up, the last attempt goes on to its end and is noted.
    """
    while True:
        after_s = random.uniform(0.5, longest_s) if report.kills < size.kills else None
        ended = await world.command("rebuild", "progress", "--json", kill_after_s=after_s)
        if ended.code == KILLED:
            report.kills += 1
            continue
        report.note("mended under load, from where it was killed", ended, 0)
        return max(1.0, ended.seconds)


async def _measured(world: System, report: ReplayReport, events: int) -> None:
    dry = await world.command("rebuild", "progress", "--dry-run", "--json")
    report.note("dry run, events", dry, events)
    right = await world.command("rebuild", "progress", "--json")
    report.note("all right, events", right, events)
    if dry.code or right.summary.get("counts", {}).get("changed"):
        report.wrong.append(f"something was wrong after it was mended: {dry.summary.get('counts')}")
    await _damage(world.database)
    report.note("all replaced, events", await world.command("rebuild", "progress", "--json"), events)
    await world.quiesce()
    counts = await world.command("rebuild", "counts", "--json")
    report.note("counts, documents", counts, counts.summary.get("counts", {}).get("documents", 0))


async def _promoted_and_taken_back(world: System, report: ReplayReport, events: int) -> None:
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
    report.wrong += await found_by_oracle(world.database)


async def _shown(database: Database) -> dict[Any, Any]:
    """A digest of each document, but for what a write always changes."""
    shown: dict[Any, Any] = {}
    async for document in database.user_progress.find({}, {"rev": 0, "recorded_at": 0}):
        shown[document.pop("_id")] = hash(repr(document))
    return shown
