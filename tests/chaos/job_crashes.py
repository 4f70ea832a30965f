"""Jobs are killed before and after each of their writes, beside a worker that goes on, and started again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from random import Random

from tests.chaos.fault_injector import KillPoint, Side
from tests.chaos.final_run import finish
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.job_commands import JobCommand
from tests.chaos.launcher import TRACE_VARIABLE
from tests.chaos.trace import read_trace
from tests.support.waiting import until
from worker.app.exits import ExitCode
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.worker_process import WorkerProbe
from worker.storage.job_runs import newest_asked

Say = Callable[[str], None]
Kind = tuple[str, str]
"""A command, and what it does (see `shape`)."""

# A run that finds nothing to write where it was to be killed is tried again on new damage.
_TRIES = 6
_SIDES: Sequence[Side] = ("before", "after")
# A report of differences is a good end of what only compares.
_GOOD_ENDS = frozenset({ExitCode.OK, ExitCode.DIFFERENCE})
# What the runner writes around every job: killed at with the first one.
_RUNNERS = frozenset({"leases", "job_runs", "audit"})
# What the driver sends when a process has done.
_CLOSING = "endSessions"
# Of whoever repairs rows, and no runner's.
_REPAIRERS = "leases/partition"
# What comes only where a transaction meets another one's, and leaves what a kill before its commit leaves.
_BY_CHANCE = frozenset({"abortTransaction"})
# A partition has a first repairer once in its life.
_FIRST_REPAIRER = f"{_REPAIRERS}/set.repairer"
# So much is stored before the first job, so that every one finds something.
_EVENTS_AT_FIRST = 1_500
# What comes beside the jobs: they go through everything that is stored, again and again, which must stay little.
_BESIDE_PER_S = 4
# What tells how far a job has come, by command and target.
_PLACE: Kind = ("findAndModify", "job_runs")


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


async def crash_jobs(
    history: History,
    commands: Sequence[JobCommand],
    seed: int,
    known: set[Kind],
    say: Say,
    most: int | None = None,
) -> Sequence[str]:
    """Every command, at every kind of its writes, on both sides; what is wrong in the end.

    1. a worker lives all along  2. a run that is only written down tells the kinds of writes; those of the runner are
    the same for all, and once they are `known` no other command is killed at them  3. damage, a run that is killed
    there, and the same command again, to its end  4. what the command was about to leave behind is put right
    """
    random, jobs = Random(seed), Jobs(history)  # noqa: S311 - a repeatable order, not a secret
    wrong: list[str] = []
    async with _living(history) as probe:  # 1
        for command in commands:
            kinds = await _kinds(history, jobs, command, random)  # 2
            points = list(points_of(kinds, known))
            known.update(filter(_is_runners, kinds))
            for number, point in enumerate(points[:most], start=1):
                try:
                    wrong += await _crash(history, jobs, command, point, random)  # 3
                except NotProven as unproven:  # of this point: those that follow tell something all the same
                    wrong.append(f"not proven: {unproven}")
                say(f"{history.name}: {command.words} {number}/{len(points)}: {point}")
            for words in command.after:  # 4
                await jobs.to_its_end(words.split())
        return [*wrong, *await finish(history, {"target": probe})]


def points_of(kinds: Sequence[Kind], known: set[Kind]) -> Iterator[KillPoint]:
    """Where a command is killed: at the first of each kind of its writes.

    Where nothing but its place tells what it has sent to Kafka, at the saves of its place, too, and at a later one.
    """
    only_sends = all(_is_runners(kind) or kind[0] == "send" for kind in kinds)
    for kind in kinds:
        if kind in known and not only_sends:
            continue
        saves = only_sends and (kind[0], kind[1].partition("/")[0]) == _PLACE
        for occurrence in (1, 2) if saves else (1,):
            for side in _SIDES:
                yield KillPoint(side, *kind, occurrence)


def _is_runners(kind: Kind) -> bool:
    command, target = kind
    around = command == _CLOSING or target.partition("/")[0] in _RUNNERS
    return around and not target.startswith(_REPAIRERS)


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
        history.workload.rate_per_s = _BESIDE_PER_S
        yield WorkerProbe(url, process)
    finally:
        await asyncio.to_thread(process.stop)


async def _kinds(history: History, jobs: Jobs, command: JobCommand, random: Random) -> Sequence[Kind]:
    """Every kind of write that a run makes each time, in their order. Raises NotProven where there is none.

    Not of the first run in a history: a few writes are those of the first repairer of a partition, and never come
    again. Of the two after it: where the worker beside it is a moment late, a job is first at what is the worker's.
    """
    first = await _prepared(history, jobs, command, random)
    await jobs.to_its_end(command.arguments(first))
    second, third = [await _traced(history, jobs, command, random) for _ in range(2)]
    kinds = [each for each in second if each in third and each[0] not in _BY_CHANCE]
    if not kinds:
        raise NotProven(f"`{command.words}` writes nothing each time")
    return kinds


async def _traced(history: History, jobs: Jobs, command: JobCommand, random: Random) -> Sequence[Kind]:
    """The kinds of writes of one run, in their order."""
    names = await _prepared(history, jobs, command, random)
    file = history.world.folder / f"trace-{names['number']}.jsonl"
    process = await jobs.run(command.arguments(names), trace=str(file))
    if process.returncode not in _GOOD_ENDS:
        raise NotProven(f"`{command.words}` ended with {process.returncode}:\n{process.log_tail()}")
    return list(dict.fromkeys((write.command, write.target) for write in read_trace(file)))


async def _prepared(history: History, jobs: Jobs, command: JobCommand, random: Random) -> Mapping[str, str]:
    """Damage something, and run what has to go before; what the names in the command stand for in this run."""
    number = str(random.randrange(10**9))
    if not await command.damaged(history.world.database, random):
        raise NotProven(f"`{command.words}`: nothing could be damaged")
    await command.prepared(history, number)
    names = {"number": number, "folder": str(history.world.folder), "promotion": ""}
    for words in command.before:
        await jobs.to_its_end(words.format(**names).split())
    promotion = await newest_asked(history.world.database, "promote", {"into": f"shadow{number}"})
    return names if promotion is None else {**names, "promotion": promotion.id}


async def _crash(
    history: History, jobs: Jobs, command: JobCommand, point: KillPoint, random: Random
) -> Sequence[str]:
    """Kill it there, and run it again to its end; what is wrong then, as far as the command itself can tell.

    Raises NotProven where it does not come to the point.
    """
    for _ in range(_TRIES):
        if point.target == _FIRST_REPAIRER:  # nobody is one now: the run before has come to its end
            leases = history.world.database.leases
            await leases.update_many({"repairer": {"$exists": True}}, {"$unset": {"repairer": ""}})
        names, begun = await _prepared(history, jobs, command, random), datetime.now(UTC)
        known = len(history.target.crashes())
        process = await jobs.run(command.arguments(names), point=point)
        crashes = history.target.crashes()[known:]
        if process.returncode == -signal.SIGKILL and [crash.point for crash in crashes] == [str(point)]:
            history.record_fault(Fault("job killed at a write", str(point), crashes[-1].at, 1))
            await jobs.to_its_end(command.arguments(names))
            return await command.left_wrong(history, names["number"], begun)
        if process.returncode not in _GOOD_ENDS:
            raise NotProven(f"{point}: ended with {process.returncode}:\n{process.log_tail()}")
    raise NotProven(f"`{command.words}` does not come to {point}, in {_TRIES} runs")
