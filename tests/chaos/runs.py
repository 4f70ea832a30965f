"""What a run consists of: histories, each checked by itself; one that fails leaves its logs and stops no other."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.crashes import crash_everywhere
from tests.chaos.faults import kill_mongod_everywhere, losable, lose_replies_everywhere
from tests.chaos.final_run import run_to_quiescence
from tests.chaos.history import Fault, History, history
from tests.chaos.job_commands import COMMANDS, JobCommand
from tests.chaos.job_crashes import Kind, crash_jobs
from tests.chaos.plan import Planned, ScheduledPoint, early, planned, schedule, shared
from tests.chaos.proxy import Loss, losing, proxied
from tests.chaos.report import HistoryResult, Report
from tests.chaos.storm import Storm, run_storm
from tests.chaos.tracing import traced
from tests.chaos.world import World
from tests.chaos.zombies import STOPS, stop_at
from worker.devstack.servers.stack import KafkaKind

# Long enough for the server to have done what it was asked; the worker waits longer than this for an answer.
LOST_FOR_S = 0.5
# A crash, and another one in the recovery from it.
PAIRS = 20

Act = Callable[[History], Awaitable[Sequence[str]]]


@dataclass
class Run:
    """One call of the program. `kafka` is what the storms run on; crash points need no broker with files.

    `most` and `only_jobs` are for trying things out: so many points, commands that begin so; the report says that
    they were not all. `whole`: all points of every stage, where a short run draws some.
    """

    report: Report
    kafka: KafkaKind
    logs: Path
    say: Callable[[str], None]
    plans: Sequence[Planned] = ()
    recovery: Sequence[Planned] = ()
    most: int | None = None
    only_jobs: Sequence[str] = ()
    whole: bool = False
    traced: asyncio.Event = field(default_factory=asyncio.Event)

    async def trace(self) -> None:
        """Find the points; `traced` is set once they are known, or never will be. Its own history is checked, too."""

        async def act(one: History) -> Sequence[str]:
            traces = await traced(one)
            self.plans, self.recovery = planned(traces), early(traces, planned(traces))
            self.say(f"trace: {len(self.plans)} kinds of writes")
            self.traced.set()
            return await run_to_quiescence(one)

        await self.one("trace", "embedded", self.report.seed, act)
        if not self.plans:
            self.report.left_out.append("crash points: the trace failed")
        self.traced.set()
        if self.most is not None:
            self.report.left_out.append(f"crash points: all but {self.most}")
        elif not self.whole:
            further = len(schedule(self.plans, 0, whole=True)) - len(self._scheduled())
            self.report.left_out.append(
                f"{further} crash points of stages that are much alike: the full run has them"
            )

    async def points(self, parts: int) -> None:
        """The worker is killed at every point, in several histories side by side, as soon as they are known."""
        await self.traced.wait()
        shares = shared(self._scheduled(), parts)

        def crashing(share: Sequence[ScheduledPoint]) -> Act:
            async def act(one: History) -> Sequence[str]:
                await crash_everywhere(one, share, self.say)
                return await run_to_quiescence(one)

            return act

        await asyncio.gather(
            *(
                self.one(f"points {number}", "embedded", self.report.seed + number, crashing(share))
                for number, share in enumerate(shares, start=1)
                if share
            )
        )

    async def pairs(self) -> None:
        """The worker is killed somewhere, and again in the recovery from that."""
        random = Random(self.report.seed)  # noqa: S311 - a repeatable order, not a secret
        anywhere = [each for each in self._scheduled() if each.when == "always"]
        recovery = schedule(self.recovery, self.report.seed, whole=True)
        again = [each for each in recovery if each.point.occurrence == 1]
        pairs = PAIRS if self.most is None else min(PAIRS, self.most)
        chosen = [each for _ in range(pairs) for each in (random.choice(anywhere), random.choice(again))]

        async def act(one: History) -> Sequence[str]:
            await crash_everywhere(one, chosen, self.say)
            return await run_to_quiescence(one)

        await self.one("pairs", "embedded", self.report.seed, act)

    async def mongod_at_points(self) -> None:
        """Mongod is killed at every point."""

        async def act(one: History, chosen: Sequence[ScheduledPoint]) -> Sequence[str]:
            await kill_mongod_everywhere(one, chosen, self.say)
            return await run_to_quiescence(one)

        for name, chosen in self._by_world("mongod at points"):
            await self.one(name, "embedded", self.report.seed, partial(act, chosen=chosen))

    async def lost_replies(self) -> None:
        """The reply to every write is lost once."""
        losses: list[Loss] = []

        @asynccontextmanager
        async def through(world: World) -> AsyncIterator[None]:
            async with proxied(world.mongod.port) as proxy, losing(proxy, LOST_FOR_S) as loss:
                losses.append(loss)
                world.mongod_uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
                yield

        async def act(one: History, chosen: Sequence[ScheduledPoint]) -> Sequence[str]:
            await lose_replies_everywhere(one, chosen, losses[-1], self.say)
            return await run_to_quiescence(one)

        for name, chosen in self._by_world("lost replies"):
            if losable(chosen):
                await self.one(
                    name, "embedded", self.report.seed, partial(act, chosen=chosen), through=through
                )

    async def zombies(self) -> None:
        """A worker is stopped before a write and goes on when another has done everything; a history for each."""
        for number, point in enumerate(STOPS, start=1):
            act = partial(stop_at, point=point)
            await self.one(f"zombie {number}", "embedded", self.report.seed + number, act)

    async def jobs(self, parts: int) -> None:
        """Jobs are killed at each of their writes, beside a worker that lives, in several histories side by side."""
        seed = self.report.seed
        commands = [
            each for each in COMMANDS if not self.only_jobs or each.words.startswith(tuple(self.only_jobs))
        ]
        if len(commands) < len(COMMANDS):
            self.report.left_out.append(f"jobs: all but {', '.join(each.words for each in commands)}")
        if self.most is not None:
            self.report.left_out.append(f"points of each job: all but {self.most}")
        known: set[Kind] = set()

        def crashing(share: Sequence[JobCommand]) -> Act:
            return lambda one: crash_jobs(one, share, seed, known, self.say, self.most)

        shares = [commands[first::parts] for first in range(min(parts, len(commands)))]
        await asyncio.gather(
            *(
                self.one(f"jobs {number}", "embedded", seed + number, crashing(share))
                for number, share in enumerate(shares, start=1)
            )
        )

    async def storm(self, seed: int, storm: Storm, until_s: float | None = None) -> None:
        """Random faults in one history."""
        await self.one(
            f"storm {seed}", self.kafka, seed, lambda one: run_storm(one, storm, self.say, until_s)
        )

    async def one(self, name: str, kafka: KafkaKind, seed: int, act: Act, **options: object) -> None:
        """One history from begin to end, into the report."""
        began = time.monotonic()
        wrong: Sequence[str] = ()
        ran: History | None = None
        faults: tuple[Fault, ...] = ()
        try:
            async with history(name, kafka, seed, **options) as ran:  # type: ignore[arg-type]
                ran.world.keep = self.logs / name.replace(" ", "-")
                wrong = await act(ran)
                faults = tuple(await ran.measured())
                if not wrong:
                    ran.world.keep = None
        except Exception as error:  # whatever it is, it concerns this history only, which proves nothing now
            wrong = [f"not proven: {type(error).__name__}: {error}"]
            faults = tuple(ran.faults) if ran else ()
        records = ran.workload.records if ran else 0
        result = HistoryResult(name, seed, kafka, records, time.monotonic() - began, faults, wrong)
        self.report.histories.append(result)
        self.say(f"{name}: {len(faults)} faults, {wrong or 'holds'}")

    def _scheduled(self) -> Sequence[ScheduledPoint]:
        return schedule(self.plans, self.report.seed, whole=self.whole)[: self.most]

    def _by_world(self, name: str) -> Sequence[tuple[str, Sequence[ScheduledPoint]]]:
        """First occurrences; what happens only once in a world, and is survived, needs a world of its own."""
        firsts = [each for each in self._scheduled() if each.point.occurrence == 1]
        once = [each for each in firsts if each.when == "once"]
        worlds = [(f"{name}, first write {number}", [each]) for number, each in enumerate(once, start=1)]
        return [*worlds, (name, [each for each in firsts if each.when != "once"])]
