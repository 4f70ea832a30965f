"""One run of one contestant, watched from outside: from its first fetch until everything is stored."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from bench.contestants.field import Contestant, Stage
from bench.contestants.task import FETCHING, Task
from bench.expected import Expected
from bench.fixture import CLOCK, Fixture, Published
from bench.processes import Usage, usage
from bench.records import AnyWorkload
from bench.stored import bytes_per_event, differences, last_writes, paid, reached, seconds_since
from worker.devstack.servers.process import ServerProcess, spawn
from worker.errors import Fatal
from worker.storage.database import Database

BEGIN_POLL_S = (
    0.04  # how finely the begin is seen where a contestant does not tell it: 1 % of a run of four seconds
)
POLL_S = 0.1
# After a look it rests so many times as long as the look took: watching must not cost what it measures. Finer looks
# would tell nothing more, for the end is read from the server's own log.
RESTS = 30
BEGIN_LIMIT_S = 120.0
RUN_LIMIT_S = 900.0
GRACE_S = 40.0  # above the worker's drain deadline
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of one run. CPU is that of the time from the first fetch until all was seen to be stored.

    `stages` are the seconds from the first fetch until each stage's last write; `seconds` is the longest of them.
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
    broker_cpu_s: float = 0.0
    stages: Mapping[Stage, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events a second."""
        return 0.0 if self.wrong else self.events / self.seconds

    def us_per_event(self, seconds: float) -> float:
        """Microseconds an event, of seconds for all."""
        return seconds * 1e6 / self.events


@dataclass(frozen=True, slots=True)
class _Used:
    """What contestant, mongod and broker have used so far."""

    own: Usage
    mongod_cpu_s: float
    broker_cpu_s: float

    @classmethod
    def now(cls, given: Fixture, process: ServerProcess) -> "_Used":
        brokers = sum(usage(pid).cpu_s for pid in given.broker_pids)
        return cls(usage(process.pid), usage(given.mongod.process.pid).cpu_s, brokers)


async def run_once(given: Fixture, contestant: Contestant, published: Published) -> Run:
    """A run on databases of its own."""
    async with given.run(published.topic) as (task, database):
        await _prepare(database, contestant, published.workload)
        present = published.workload.present
        return await observe(given, contestant, task, database, published.expected, present=present)


async def observe(
    given: Fixture,
    contestant: Contestant,
    task: Task,
    database: Database,
    expected: Expected,
    *,
    before: int = 0,
    paid_before: int = 0,
    present: bool = False,
) -> Run:
    """1. start it  2. wait for its first fetch  3. until all is stored  4. stop it  5. when was that  6. check.

    `before` is what the collections held already, beside `paid_before` events of payments. Raises StartFailed with
    the log's tail for a contestant that ends, Fatal for one that does not get there.
    """
    folder = given.folder / task.group
    folder.mkdir()
    payments = paid_before + paid(contestant, expected)
    # 1.
    start = await contestant.start(folder, task)
    process = spawn(contestant.name, start.command, folder / "log", start.environment)
    try:
        # 2.
        begin = await _begun(process, contestant.begins)
        used = _Used.now(given, process)
        # 3.
        await _stored(database, contestant, before + expected.events, payments, process)
        after = _Used.now(given, process)
    finally:
        # 4.
        await asyncio.to_thread(process.stop, GRACE_S)
    # 5.
    stages = seconds_since(begin, await last_writes(database, contestant))
    # 6.
    wrong = await differences(database, contestant, expected, before, payments, present=present)
    return Run(
        contestant=contestant.name,
        events=expected.events,
        seconds=max(stages.values()),
        cpu_s=after.own.cpu_s - used.own.cpu_s,
        mongod_cpu_s=after.mongod_cpu_s - used.mongod_cpu_s,
        peak_bytes=after.own.peak_bytes,
        stored_bytes=await bytes_per_event(database, before + expected.events),
        wrong=", ".join(wrong),
        broker_cpu_s=after.broker_cpu_s - used.broker_cpu_s,
        stages=stages,
    )


async def _prepare(database: Database, contestant: Contestant, workload: AnyWorkload) -> None:
    for name in contestant.unvalidated:
        await database.content.command("collMod", name, validationLevel="off")
    if contestant.plain:
        await database.user_interactions.drop()
        await database.user_interactions.create_index([("metadata.user_id", 1), ("timestamp", -1)])
    if workload.present:
        courses, users = await asyncio.to_thread(workload.platform)
        await database.courses.insert_many(courses)
        await database.users.insert_many(users)


async def _begun(process: ServerProcess, mark: str) -> datetime:
    """When the mark appeared in its output, as the server's log tells time; its own figure where it gives one."""
    end = CLOCK.monotonic() + BEGIN_LIMIT_S
    while CLOCK.monotonic() < end:
        line = next((each for each in _lines(process.log) if mark in each), None)
        if line is not None:
            ago = time.monotonic() - float(line.split()[1]) if mark == FETCHING else 0.0
            return CLOCK.now() - timedelta(seconds=ago)
        process.require_alive()
        await CLOCK.sleep(BEGIN_POLL_S)
    raise Fatal(f"{process.name} did not begin; its log says:\n{process.log_tail()}")


def _lines(log: Path) -> list[str]:
    """Whole lines only: the last one may still be written."""
    return log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


async def _stored(
    database: Database, contestant: Contestant, events: int, payments: int, process: ServerProcess
) -> None:
    """Return once everything is seen to be there."""
    end = CLOCK.monotonic() + RUN_LIMIT_S
    while CLOCK.monotonic() < end:
        began = CLOCK.monotonic()
        count = await reached(database, contestant, events, payments)
        if count >= events:
            return
        if process.returncode not in (None, 0):
            process.require_alive()
        await CLOCK.sleep(max(POLL_S, RESTS * (CLOCK.monotonic() - began)))
    raise Fatal(f"{process.name} stored {count} of {events}; its log says:\n{process.log_tail()}")


def where_time_goes(runs: Sequence[Run]) -> str:
    """Who keeps the machine busy: what a ratio below its goal has to be explained from first."""
    wall, own, server, broker = (
        median(each.us_per_event(getattr(each, name)) for each in runs)
        for name in ("seconds", "cpu_s", "mongod_cpu_s", "broker_cpu_s")
    )
    return (
        f"of {wall:.0f} µs an event the worker computes {own:.0f}, mongod {server:.0f}, the broker {broker:.0f}; "
        f"{CORES} cores have {CORES * wall:.0f}"
    )


def described(run: Run) -> str:
    """One line for whoever watches."""
    if run.wrong:
        return f"{run.contestant}: WRONG, {run.wrong}"
    own, server = (run.us_per_event(seconds) for seconds in (run.cpu_s, run.mongod_cpu_s))
    return f"{run.contestant}: {run.rate:,.0f} events/s; CPU an event {own:.0f} µs, mongod {server:.0f} µs"
