"""MongoDB is hit at the worker's points instead of the worker: mongod killed, or a reply lost on the wire."""

import time
from collections.abc import Awaitable, Callable, Sequence

from tests.chaos.crashes import Say, run_once
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.launcher import ACT_VARIABLE
from tests.chaos.plan import ScheduledPoint
from tests.chaos.proxy import Loss
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess


async def kill_mongod_everywhere(history: History, chosen: Sequence[ScheduledPoint], say: Say) -> None:
    """At each point mongod is killed by SIGKILL and started again on its files; the worker keeps running."""

    async def heal() -> None:
        await history.world.restart_mongod()

    await _everywhere(
        history, chosen, "mongod killed", lambda: f"kill:{history.world.mongod.process.pid}", heal, say
    )


async def lose_replies_everywhere(
    history: History, chosen: Sequence[ScheduledPoint], loss: Loss, say: Say
) -> None:
    """From before each point on the server's replies are lost, and then every connection is cut."""
    met = 0

    async def heal() -> None:
        nonlocal met
        met += 1
        # The point is on disk a moment before the proxy hears of it.
        await until(lambda: len(loss.ends) == met, "the proxy to be told")
        await loss.ends[-1]
        if loss.proxy.to_client.dropped_bytes == 0:
            raise NotProven("no reply was lost")

    await _everywhere(history, losable(chosen), "reply lost", lambda: f"tell:{loss.port}", heal, say)


def losable(chosen: Sequence[ScheduledPoint]) -> Sequence[ScheduledPoint]:
    """Those of the points at which a reply can be lost: before what goes through the proxy and is answered."""
    return [each for each in chosen if each.point.side == "before" and each.point.command in _ON_THE_WIRE]


_ON_THE_WIRE = frozenset({"insert", "update", "delete", "findAndModify", "commitTransaction", "killSessions"})


async def _everywhere(
    history: History,
    chosen: Sequence[ScheduledPoint],
    kind: str,
    act: Callable[[], str],
    heal: Callable[[], Awaitable[None]],
    say: Say,
) -> None:
    if chosen and chosen[0].when != "once":
        await run_once(history)
    for number, scheduled in enumerate(chosen, start=1):
        # A point of the worker's start may come before the workload's first records.
        if not history.workload.waiting:
            await history.workload.burst()
        process = history.target.start(str(scheduled.point), settings={ACT_VARIABLE: act()})
        try:
            fault = await _one(history, scheduled, process, kind, heal)
        finally:
            process.popen.kill()
            process.popen.wait()
        await history.note_doubt()
        history.record_fault(fault)
        say(
            f"{history.name} {number}/{len(chosen)}: {kind} at {scheduled.point}, {fault.in_flight} in flight"
        )


async def _one(
    history: History,
    scheduled: ScheduledPoint,
    process: ServerProcess,
    kind: str,
    heal: Callable[[], Awaitable[None]],
) -> Fault:
    """Wait for the point, heal the server, and wait until events are stored again."""
    known, started, workload = len(history.target.crashes()), time.time(), history.workload

    def reached() -> bool:
        workload.require_alive()
        return len(history.target.crashes()) > known or process.returncode is not None

    if scheduled.when == "stopping":
        await until(lambda: reached() or workload.stored_since(started), "the worker to store something")
        process.popen.terminate()
    await until(reached, f"the point {scheduled.point}")
    crashes = history.target.crashes()[known:]
    if [crash.point for crash in crashes] != [str(scheduled.point)]:
        raise NotProven(f"{scheduled.point}: the worker ended with {process.returncode} elsewhere")
    in_flight = len(workload.waiting)
    await heal()
    healed = time.time()
    await history.note_doubt()
    if scheduled.when != "stopping":

        def again() -> bool:
            process.require_alive()
            return workload.stored_since(healed)

        await until(again, f"events to be stored again after {kind} at {scheduled.point}")
    recovered = next((each.seen - healed for each in workload.seen if each.seen > healed), None)
    return Fault(f"{kind} at {scheduled.stage}", crashes[0].point, crashes[0].at, in_flight, recovered)
