"""Jobs are killed before and after each of their writes, beside a worker that goes on, and started again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.chaos import damage
from tests.chaos.damage import Damage
from tests.chaos.fault_injector import KillPoint, Side
from tests.chaos.final_run import finish
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.launcher import TRACE_VARIABLE
from tests.chaos.trace import read_trace
from tests.support.waiting import until
from worker.app.exits import ExitCode
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.worker_process import WorkerProbe

# A run that finds nothing to write where it was to be killed is tried again on new damage.
_TRIES = 3
_SIDES: Sequence[Side] = ("before", "after")
# A report of differences is a good end of what only compares.
_GOOD_ENDS = frozenset({ExitCode.OK, ExitCode.DIFFERENCE})
# What the runner writes around every job: killed at with the first one.
_RUNNERS = frozenset({"leases", "job_runs", "audit"})
# So much is stored before the first job, so that every one finds something.
_EVENTS_AT_FIRST = 1_500

Say = Callable[[str], None]
Kind = tuple[str, str]
"""A command, and what it does (see `shape`)."""


@dataclass(frozen=True, slots=True)
class JobCommand:
    """A command that runs a job, and what is damaged before, so that it has something to write.

    `before` are commands that have to succeed before each of its runs. A `{}` in any of them is a new word each time.
    """

    words: str
    damaged: Damage
    before: Sequence[str] = ()

    def arguments(self, number: int) -> Sequence[str]:
        return self.words.format(number).split()

    def preparations(self, number: int) -> Sequence[Sequence[str]]:
        return [words.format(number).split() for words in self.before]


COMMANDS: Sequence[JobCommand] = (
    JobCommand("rebuild progress", damage.records),
    JobCommand("rebuild counts", damage.projections),
    JobCommand("rebuild progress --into shadow{}", damage.records),
    JobCommand("promote shadow{}", damage.records, ("rebuild progress --into shadow{}",)),
    JobCommand("rebuild time-series", damage.rows),
    JobCommand("rebuild notifications", damage.notifications),
    JobCommand("verify --fix", damage.much),
)


class Jobs:
    """The processes of jobs in one history, one after another."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._settings = {"SEVENP_JOBS_LEASE_S": "2", "SEVENP_JOBS_MAX_LAG_S": "0"}
        self._numbers = count(1)

    async def run(
        self, arguments: Sequence[str], *, point: KillPoint | None = None, trace: str | None = None
    ) -> ServerProcess:
        """Run it until it is gone."""
        settings = dict(self._settings)
        if trace is not None:
            settings[TRACE_VARIABLE] = trace
        process = self._history.target.start(
            None if point is None else str(point),
            settings,
            name=f"job-{next(self._numbers):03}",
            arguments=arguments,
        )
        try:
            await until(lambda: process.returncode is not None, f"`{' '.join(arguments)}` to end")
        except TimeoutError as error:
            raise NotProven(f"{error}; its log says:\n{process.log_tail()}") from None
        finally:
            await asyncio.to_thread(process.stop)
        return process

    async def to_its_end(self, arguments: Sequence[str]) -> None:
        """Run it; raises NotProven unless it ends in good order."""
        process = await self.run(arguments)
        if process.returncode not in _GOOD_ENDS:
            words = " ".join(arguments)
            raise NotProven(f"`{words}` ended with {process.returncode}:\n{process.log_tail()}")


async def crash_jobs(history: History, seed: int, say: Say, most: int | None = None) -> Sequence[str]:
    """Every command, at every kind of its writes, on both sides; what is wrong in the end.

    1. a worker lives all along  2. a run that is only written down tells the kinds of writes; those of the runner are
    the same for all  3. damage, a run that is killed there, and the same command again, to its end
    """
    random, jobs = Random(seed), Jobs(history)  # noqa: S311 - a repeatable order, not a secret
    known: set[Kind] = set()
    async with _living(history) as probe:  # 1
        for command in COMMANDS:
            kinds = await _kinds(history, jobs, command, random)  # 2
            points = [KillPoint(side, *kind) for kind in kinds if kind not in known for side in _SIDES]
            known.update(kind for kind in kinds if kind[1].partition("/")[0] in _RUNNERS)
            for number, point in enumerate(points[:most], start=1):
                await _crash(history, jobs, command, point, random)  # 3
                say(f"{history.name}: {command.words} {number}/{len(points)}: {point}")
        return await finish(history, {"target": probe})


@asynccontextmanager
async def _living(history: History) -> AsyncIterator[WorkerProbe]:
    """A worker with all roles, which has stored enough for every job to find something."""
    process = history.target.start()
    url = f"http://127.0.0.1:{history.target.settings['SEVENP_HTTP_PORT']}"
    events = history.world.database.course_events

    async def enough() -> bool:
        process.require_alive()
        history.workload.require_alive()
        return await events.estimated_document_count() >= _EVENTS_AT_FIRST

    try:
        await until(enough, f"{_EVENTS_AT_FIRST} events to be stored")
        yield WorkerProbe(url, process)
    finally:
        await asyncio.to_thread(process.stop)


async def _kinds(history: History, jobs: Jobs, command: JobCommand, random: Random) -> Sequence[Kind]:
    """Every kind of write that a run makes, in their order. Raises NotProven where there is none."""
    file = history.world.folder / f"trace-{command.words.replace(' ', '-')}.jsonl"
    number = await _prepared(history, jobs, command, random)
    process = await jobs.run(command.arguments(number), trace=str(file))
    kinds = dict.fromkeys((write.command, write.target) for write in read_trace(file))
    if process.returncode not in _GOOD_ENDS or not kinds:
        raise NotProven(f"`{command.words}` ended with {process.returncode}:\n{process.log_tail()}")
    return list(kinds)


async def _prepared(history: History, jobs: Jobs, command: JobCommand, random: Random) -> int:
    """Damage something, and run what has to go before; the number of this run's names."""
    number = random.randrange(10**9)
    if not await command.damaged(history.world.database, random):
        raise NotProven(f"`{command.words}`: nothing could be damaged")
    for arguments in command.preparations(number):
        await jobs.to_its_end(arguments)
    return number


async def _crash(history: History, jobs: Jobs, command: JobCommand, point: KillPoint, random: Random) -> None:
    """Kill it there, and run it again to its end. Raises NotProven where it does not come to the point."""
    for _ in range(_TRIES):
        number = await _prepared(history, jobs, command, random)
        known = len(history.target.crashes())
        process = await jobs.run(command.arguments(number), point=point)
        crashes = history.target.crashes()[known:]
        if process.returncode == -signal.SIGKILL and [crash.point for crash in crashes] == [str(point)]:
            history.record_fault(Fault("job killed at a write", str(point), crashes[-1].at, 1))
            await jobs.to_its_end(command.arguments(number))
            return
        if process.returncode not in _GOOD_ENDS:
            raise NotProven(f"{point}: ended with {process.returncode}:\n{process.log_tail()}")
    raise NotProven(f"`{command.words}` does not come to {point}, in {_TRIES} runs")
