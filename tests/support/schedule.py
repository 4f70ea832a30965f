"""Schedulers on a clock that a test moves, and the runs they leave."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.support.clocks import SteppedClock
from tests.support.jobs import Counting
from tests.support.settings import changed
from tests.support.waiting import LIMIT_S, NotInTime, until
from worker.jobs.context import Parts
from worker.jobs.runner import Runner
from worker.jobs.schedule.entry import Entry, read_schedule
from worker.jobs.schedule.following import EntryFollower
from worker.jobs.schedule.scheduler import Scheduler
from worker.jobs.schedule.sources import Source, source_of
from worker.settings import load_settings
from worker.storage.database import Database
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import cancel_and_wait

# Who waits for the next firing sleeps longer than that in these tests, and nobody else does.
_LONG = timedelta(seconds=200)
# Whoever looks again sleeps that long at most. In between lies the renewal of a lease, while a run goes on.
_SHORT = timedelta(seconds=10)
_NEVER_S = 1e8
# Real time for whoever was woken up.
_LOOK_S = 0.01


def entry(counting: Counting, cron: str, **more: Any) -> Entry:
    """An entry of the tests' job."""
    written = {"job": "count", "cron": cron, **more}
    (read,) = read_schedule([("nightly", written)], (counting.job,)).entries
    return read


def stepped_parts(database: Database, clock: SteppedClock) -> Parts:
    """What a scheduler is given; it looks at nothing but its firings."""
    settings = load_settings()
    groups = {
        "jobs": changed(settings.jobs, lease_s=300.0),
        "schedule": changed(settings.schedule, look_every_s=_NEVER_S),
    }
    return Parts(database, settings.model_copy(update=groups), clock, Metrics())


@dataclass(slots=True)
class Schedulers:
    """Schedulers that follow one entry, each with metrics of its own, and their clock."""

    clock: SteppedClock
    counting: Counting
    followers: list[EntryFollower]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def pass_to(self, moment: datetime) -> None:
        """Let time pass, firing by firing, and wait each time until all have done what was due."""
        await self.settle()
        while self.clock.left and self.clock.now() + self.clock.left[0] <= moment:
            self.clock.move_to(self.clock.now() + self.clock.left[0])
            await self.settle()
        self.clock.move_to(moment)
        await self.settle()

    async def jump_to(self, moment: datetime) -> None:
        """As if nobody had run meanwhile."""
        self.clock.move_to(moment)
        await self.settle()

    async def settle(self) -> None:
        """Wait until everybody waits for the next firing; short waits are over at once."""

        def at_rest() -> bool:
            for task in self.tasks:
                if task.done():
                    task.result()
            left = self.clock.left
            if left and left[0] < _SHORT:
                self.clock.move_to(self.clock.now() + left[0])
                return False
            return len(left) == len(self.tasks) and left[0] > _LONG

        await until(at_rest, "all schedulers wait for the next firing")

    def misfires(self, reason: str) -> float:
        """As all of them have counted."""
        return self._sum("scheduled_job_misfires_total", job="count", reason=reason)

    def runs(self, outcome: str) -> float:
        return self._sum("scheduled_job_runs_total", job="count", outcome=outcome)

    def _sum(self, name: str, **labels: str) -> float:
        registries = (follower.runner.parts.metrics.registry for follower in self.followers)
        values = [each.get_sample_value(f"sevenp_worker_{name}", labels) for each in registries]
        return sum(value or 0 for value in values)


@asynccontextmanager
async def scheduling(
    database: Database, clock: SteppedClock, counting: Counting, scheduled: Entry, *, number: int = 1
) -> AsyncIterator[Schedulers]:
    """So many schedulers that follow the entry; at the end they are stopped as by SIGTERM."""
    followers = [
        EntryFollower(scheduled, Runner(stepped_parts(database, clock), f"schedule {each}"))
        for each in range(number)
    ]
    schedulers = Schedulers(clock, counting, followers)
    schedulers.tasks += [asyncio.create_task(each.run(asyncio.Event())) for each in followers]
    try:
        yield schedulers
    finally:
        await cancel_and_wait(*schedulers.tasks)


async def intervals(database: Database, *states: str) -> list[str]:
    """The intervals of all runs in these states, in order; of all of them without any."""
    query = {"status": {"$in": list(states)}} if states else {}
    return [run["interval"] async for run in database.job_runs.find(query).sort("interval", 1)]


@asynccontextmanager
async def scheduler(
    database: Database, clock: SteppedClock, counting: Counting, source: Source | None = None
) -> AsyncIterator[Metrics]:
    """A whole scheduler, which reads its entries every 30 s; at the end it is stopped as by SIGTERM."""
    settings, metrics, stop = load_settings(), Metrics(), asyncio.Event()
    parts = Parts(database, settings, clock, metrics)
    source = source or source_of(settings.schedule, database)
    role = Scheduler(source, (counting.job,), parts, Component("schedule", clock, 45.0))
    running = asyncio.create_task(role.run(stop))
    try:
        yield metrics
    finally:
        stop.set()
        await running


async def passing(
    clock: SteppedClock, condition: Callable[[], Any], what: str, *, step_s: float = 5.0
) -> None:
    """Let time pass, some seconds with every look, until the condition holds."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await _held(condition):
                clock.move_to(clock.now() + timedelta(seconds=step_s))
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise NotInTime(f"not within {LIMIT_S:.0f} s: {what}") from None


async def _held(condition: Callable[[], Any]) -> Any:
    held = condition()
    return await held if inspect.isawaitable(held) else held
