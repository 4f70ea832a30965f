"""The worker is killed at one point after the other, each time while work is in hand: one run a point."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.chaos.fault_injector import Crash
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.plan import ScheduledPoint
from tests.chaos.quiescence import unfinished_at
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess

# A crash that hit nothing does not count; it is tried again.
_TRIES = 3
# Some writes depend on how the run before ended: a run that does not come to its point is ended, and the next tries.
_REACHED_WITHIN_S = 90.0

Say = Callable[[str], None]


async def crash_everywhere(history: History, chosen: Sequence[ScheduledPoint], say: Say) -> None:
    """A run for each point. Raises NotProven where one is not reached while work is in hand, in three runs."""
    ran = False
    for number, scheduled in enumerate(chosen, start=1):
        if scheduled.when != "once" and not ran:
            await run_once(history)
            ran = True
        for attempt in range(1, _TRIES + 1):
            tried = _first_of_its_kind(scheduled) if attempt == _TRIES else scheduled
            fault = await _run(history, tried)
            if fault is not None and fault.in_flight:
                history.record_fault(fault)
                break
            say(f"{history.name}: {tried.point} {'hit nothing' if fault else 'was not reached'}")
            if attempt == _TRIES:
                raise NotProven(f"{tried.point}: not reached with work in hand, in {_TRIES} runs")
        say(f"{history.name} {number}/{len(chosen)}: {tried.point}, {history.faults[-1].in_flight} in flight")


def _first_of_its_kind(scheduled: ScheduledPoint) -> ScheduledPoint:
    """A run may have fewer of these writes than the trace had: then the first one stands for a later one."""
    return replace(scheduled, point=replace(scheduled.point, occurrence=1))


async def run_once(history: History) -> None:
    """A run that ends by a kill at no particular point: what is taken from a former owner needs one."""
    process = history.target.start()
    started = time.time()

    def stored() -> bool:
        process.require_alive()
        history.workload.require_alive()
        return history.workload.stored_since(started)

    try:
        await until(stored, "the first worker to store something")
    finally:
        process.popen.kill()
        await asyncio.to_thread(process.stop)
    await history.note_doubt()


async def _run(history: History, scheduled: ScheduledPoint) -> Fault | None:
    """Start a worker, wait until it has crashed, and see what it left; None if it did not come to its point."""
    known = len(history.target.crashes())
    process = history.target.start(str(scheduled.point))
    try:
        reached = await _end(history, scheduled, process)
    finally:
        await asyncio.to_thread(process.stop)
    if not reached or (process.returncode == 0 and scheduled.when == "stopping"):
        await history.note_doubt()
        return None
    crashes = history.target.crashes()
    if process.returncode != -signal.SIGKILL or len(crashes) != known + 1:
        raise NotProven(f"{scheduled.point}: the worker ended with {process.returncode} elsewhere")
    return await _counted(history, scheduled, crashes[-1], process.pid)


async def _end(history: History, scheduled: ScheduledPoint, process: ServerProcess) -> bool:
    """Wait until the worker is gone; False, with the worker killed, when it works on and its point does not come."""
    started = time.time()

    def gone() -> bool:
        history.workload.require_alive()
        return process.returncode is not None

    try:
        if scheduled.when == "stopping":
            await until(
                lambda: gone() or history.workload.stored_since(started), "the worker to store something"
            )
            process.popen.terminate()
        await until(gone, f"the crash {scheduled.point}", _REACHED_WITHIN_S)
    except TimeoutError as error:
        if scheduled.when == "stopping" or not history.workload.stored_since(started):
            raise NotProven(f"{error}; its log says:\n{process.log_tail()}") from None
        process.popen.kill()
        return False
    return True


async def _counted(history: History, scheduled: ScheduledPoint, crash: Crash, pid: int) -> Fault:
    """The crash as a fault. Raises NotProven for a report of another process or point."""
    if (crash.point, crash.pid) != (str(scheduled.point), pid):
        raise NotProven(f"{scheduled.point}: the report speaks of {crash.point} and process {crash.pid}")
    await history.note_doubt()
    left = await unfinished_at(history.world, history.workload, crash.read, crash.at)
    kind = f"worker killed at {scheduled.stage}"
    return Fault(kind, crash.point, crash.at, left.total)
