"""One history: a world, a workload, the faults that hit them, and at the end what oracle and verify say of it."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tests.chaos.quiescence import Unfinished, unfinished_now
from tests.chaos.steps import CANARY, MAIL, PARTITIONS
from tests.chaos.target import TargetWorker
from tests.chaos.workload import RATE_PER_S, Workload, generating
from tests.chaos.world import GROUP, OWNED, PREFIX, World, world
from tests.oracle import Delivery, Evidence, check, read_ledger
from tests.oracle.case import Case
from tests.oracle.kafka import read_logs
from tests.oracle.quiescence import metrics_at_quiescence
from tests.oracle.stored import Stored
from tests.support.waiting import LIMIT_S, until
from tests.support.worker_pool import WorkerPool
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.stack import KafkaKind
from worker.devstack.servers.worker_process import WorkerProbe
from worker.verify.run import verify

# A course is looked at again after 30 s; what waits for its fold meanwhile may be held up by a fault or two.
_STALE_AFTER = timedelta(seconds=180)
# Lag is measured every few seconds.
_METRICS_LIMIT_S = 30.0


class NotProven(Exception):
    """A fault did not fire, or hit nothing: a history that proves nothing is a failure, too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that fired at `at` (wall clock), and how much was unfinished then. `detail` says where.

    `recovered_s` is how long new events took to be stored again; None where the next fault came first.
    """

    kind: str
    detail: str
    at: float
    in_flight: int
    recovered_s: float | None = None


@dataclass
class History:
    """`in_doubt` are notifications in the hands of a worker that was hit, by key and owner: they may go out twice.

    `limit_s` is how long everything may take to become quiescent, `stale_after` how long after it was changed a
    course may still be stamped as it was.
    """

    name: str
    seed: int
    world: World
    workload: Workload
    target: TargetWorker
    faults: list[Fault] = field(default_factory=list)
    in_doubt: set[tuple[str, str]] = field(default_factory=set)
    limit_s: float = LIMIT_S
    stale_after: timedelta = _STALE_AFTER

    def record_fault(self, fault: Fault) -> None:
        """Note a fault. Raises NotProven for one that hit nothing."""
        if fault.in_flight == 0:
            raise NotProven(f"{fault.kind} {fault.detail}: nothing was in flight")
        self.faults.append(fault)

    async def note_doubt(self) -> None:
        """Remember what is being sent at this moment."""
        rows = self.world.database.notifications.find({"status": "taken"}, {"lease_owner": 1})
        self.in_doubt |= {(row["_id"], row["lease_owner"]) for row in await rows.to_list(None)}

    async def reach_quiescence(self, workers: Mapping[str, ServerProcess]) -> None:
        """Stop publishing and wait until nothing waits for anything; the workers must survive that.

        What stays behind although nothing else waits is wrong: the check says what that is.
        """
        await self.workload.end()
        left: list[Unfinished] = []

        async def quiescent() -> bool:
            self.workload.require_alive()
            for process in workers.values():
                process.require_alive()
            left.append(await unfinished_now(self.world, self.workload))
            return left[-1].total == 0

        try:
            await until(quiescent, "everything to be read, folded, counted and sent", self.limit_s)
        except TimeoutError as error:
            if not left or left[-1].total != left[-1].behind:
                raise TimeoutError(f"{error}: {left[-1:]}") from None

    async def measured(self) -> Sequence[Fault]:
        """The faults, each with its recovery where the next one did not come first.

        For a crash of the only worker it is the moment when the next one stored events, by their own `recorded_at`.
        """
        moments = sorted(await self.world.database.course_events.distinct("recorded_at"))
        seconds = [moment.timestamp() for moment in moments]
        nexts = [*(each.at for each in self.faults[1:]), float("inf")]
        return [
            fault
            if fault.recovered_s is not None
            else replace(fault, recovered_s=_between(seconds, fault.at, end))
            for fault, end in zip(self.faults, nexts, strict=False)
        ]

    async def check(self, metrics: Mapping[str, str]) -> Sequence[str]:
        """What is wrong, in sentences; everything was drained and every worker has ended."""
        world = self.world
        evidence = Evidence(
            log=await read_logs(world.kafka.bootstrap_servers, list(PARTITIONS), GROUP),
            received=_deliveries(world),
            repeats=len(self.in_doubt),
            metrics=metrics,
            logs={
                log.name: log.read_text(errors="backslashreplace") for log in world.folder.glob("target*.log")
            },
            canaries=[CANARY, MAIL],
            passwords=world.secrets,
        )
        violations = await asyncio.to_thread(
            check,
            world.mongod.uri,
            PREFIX,
            read_ledger(self.workload.ledger),
            in_order=True,
            evidence=evidence,
            owned=OWNED,
            stale_after=self.stale_after,
        )
        found = (await verify(world.database, quiescent=True)).finding_counts
        return [*map(str, violations), *(f"verify: {count} {name}" for name, count in found.items())]


def _between(seconds: Sequence[float], begin: float, end: float) -> float | None:
    """From `begin` to the first moment after it, None if that lies behind `end`."""
    place = bisect_right(seconds, begin)
    return seconds[place] - begin if place < len(seconds) and seconds[place] < end else None


def _deliveries(world: World) -> Sequence[Delivery]:
    """What was posted, with its bytes; and what was accepted, as often as it was.

    A sender that dies in mid-request has sent no body.
    """
    posted = [
        Delivery(each.key, accepted=False, body=each.body.decode())
        for each in world.receiver.posted
        if len(each.body) == int(each.headers["Content-Length"])
    ]
    return [*posted, *(Delivery(key) for key in world.receiver.accepted.elements())]


async def final_metrics(probe: WorkerProbe) -> str:
    """A worker's metrics, once they say that nothing waits: lag is measured every few seconds."""
    texts: list[str] = []

    async def quiescent() -> bool:
        probe.require_alive()
        texts.append(await probe.metrics())
        case = Case(Stored(), evidence=Evidence(metrics={"worker": texts[-1]}))
        return next(metrics_at_quiescence(case), None) is None

    with suppress(TimeoutError):  # the oracle says what is not quiescent
        await until(quiescent, "the worker's metrics to become quiescent", _METRICS_LIMIT_S)
    return texts[-1]


@asynccontextmanager
async def history(
    name: str,
    kind: KafkaKind,
    seed: int,
    *,
    rate_per_s: float = RATE_PER_S,
    through: Callable[[World], AbstractAsyncContextManager[None]] = lambda _world: nullcontext(),
) -> AsyncIterator[History]:
    """A world of its own with a workload; `through` may put something before its servers."""
    async with world(kind) as given, through(given):
        ledger = given.folder / "ledger.jsonl"
        async with generating(
            given.kafka.bootstrap_servers,
            given.database,
            ledger,
            seed=seed,
            idempotent=given.kafka.knows_idempotence,
            rate_per_s=rate_per_s,
        ) as workload:
            pool = WorkerPool(given.folder / "worker-pool.log")
            try:
                target = TargetWorker(given.folder, given.settings(), pool)
                yield History(name, seed, given, workload, target)
            finally:
                await asyncio.to_thread(pool.close)
