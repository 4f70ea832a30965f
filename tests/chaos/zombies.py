"""A worker is stopped right before a write; another finishes everything; only then does the write go out."""

import signal
import time
from collections.abc import Mapping, Sequence
from random import Random

from tests.chaos.cluster import MEMBERS, WorkerCluster
from tests.chaos.final_run import finish
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.launcher import ACT_VARIABLE, POINT_VARIABLE
from tests.chaos.quiescence import unfinished_now
from tests.chaos.workload import PARTITIONS
from tests.support.waiting import until

# What a zombie may have in hand, and the writes of it that MongoDB must have refused by the time it works again.
# Kept harmless by: the burn, the revisions of document and part, the session that the successor ended, the group's
# generation, the lease.
STOPS: Mapping[str, int] = {
    "before:insert:user_interactions:3": 1,
    "before:update:user_progress:2": 0,
    "before:update:course_versions~testing:1": 0,
    "before:commitTransaction:1:2": 0,
    "before:commit:offsets:3": 0,
    "before:update:notifications~sent_at:2": 0,
}


async def stop_at(history: History, point: str, meanwhile: int = 0) -> Sequence[str]:
    """One zombie at this point; what is wrong once it goes on and everything is quiescent again.

    It sleeps until so many further records are published `meanwhile`, and done.
    Raises NotProven when it is not reached, or when nothing is wrong although too few of its writes were refused.
    """
    cluster = WorkerCluster(history, Random(history.seed))  # noqa: S311 - nothing is left to chance here
    zombie, successor = MEMBERS
    try:
        cluster.start(zombie, {POINT_VARIABLE: point, ACT_VARIABLE: "stop"})
        await _stopped(cluster, zombie, point)
        at, in_flight = time.time(), (await unfinished_now(history.world, history.workload)).total
        await history.note_doubt()
        cluster.start(successor)
        await cluster.shared({successor: PARTITIONS})
        await until(lambda: history.workload.recovered(at) is not None, "the successor to store new events")
        history.record_fault(
            Fault("worker stopped before a write", point, at, in_flight, history.workload.recovered(at))
        )
        wanted = history.workload.records + meanwhile
        await until(lambda: history.workload.records >= wanted, f"{meanwhile} further records")
        await history.reach_quiescence({successor: cluster.server(successor)})
        cluster.server(zombie).popen.send_signal(signal.SIGCONT)
        await cluster.shared(dict.fromkeys(MEMBERS, PARTITIONS // 2))
        fenced = await cluster.fenced_writes(zombie)
        wrong = await finish(history, cluster.probes)
        if not wrong and fenced < STOPS[point]:
            raise NotProven(f"{point}: {fenced:.0f} writes of the zombie were refused")
        return wrong
    finally:
        cluster.kill_all()


async def _stopped(cluster: WorkerCluster, name: str, point: str) -> None:
    """Wait until the worker has reached its point: what it writes down comes right before it is stopped."""

    def reached() -> bool:
        cluster.history.workload.require_alive()
        cluster.probes[name].require_alive()
        return [crash.point for crash in cluster.history.target.crashes()] == [point]

    await until(reached, f"the point {point}")
