"""Random faults in one history: who is hit, in which order and at which moment follows from the seed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic

from tests.chaos.cluster import MEMBERS, WorkerCluster
from tests.chaos.final_run import finish
from tests.chaos.history import History
from tests.chaos.workload import PARTITIONS

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Storm:
    """How many of each; a rebalance is a worker that joins or one that leaves."""

    workers: int = 20
    mongods: int = 5
    brokers: int = 3
    zombies: int = 3
    rebalances: int = 10

    def order(self, random: Random) -> Sequence[str]:
        """The faults in an order of the seed's; who joins leaves again before the next one joins."""
        faults = [
            *["worker"] * self.workers,
            *["mongod"] * self.mongods,
            *["broker"] * self.brokers,
            *["zombie"] * self.zombies,
            *["visit"] * (self.rebalances // 2),
        ]
        random.shuffle(faults)
        return faults


async def run_storm(history: History, storm: Storm, say: Say, until_s: float | None = None) -> Sequence[str]:
    """All of it, while events keep coming; what is wrong in the end.

    Faults whose broker keeps no files are left out. `until_s` (monotonic) ends the storm early.
    """
    random = Random(history.seed)  # noqa: S311 - a repeatable order, not a secret
    cluster = WorkerCluster(history, random)
    try:
        for name in MEMBERS:
            cluster.start(name)
        await cluster.shared(dict.fromkeys(MEMBERS, PARTITIONS // len(MEMBERS)))
        for number, fault in enumerate(faults := storm.order(random), start=1):
            if until_s is not None and monotonic() > until_s:
                break
            for inject in _faults_of(cluster, fault):
                await inject()
                last = history.faults[-1]
                say(
                    f"{history.name} {number}/{len(faults)}: {last.kind} {last.detail}, {last.in_flight} in flight,"
                    f" {last.recovered_s or 0:.1f} s"
                )
        say(f"{history.name}: {cluster.fenced:.0f} writes of former owners were refused")
        return await finish(history, cluster.probes)
    finally:
        cluster.kill_all()


def _faults_of(cluster: WorkerCluster, fault: str) -> Sequence[Callable[[], Awaitable[None]]]:
    match fault:
        case "worker":
            return [cluster.worker_killed]
        case "mongod":
            return [cluster.mongod_killed]
        case "broker":
            return [cluster.broker_killed] if cluster.has_broker_with_files else []
        case "zombie":
            return [cluster.zombie]
    return [cluster.joined, cluster.left]
