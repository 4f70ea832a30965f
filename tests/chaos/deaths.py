"""The worker is killed at one point after the other, each time while work is in hand: one life a point."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence

from tests.chaos.executioner import Death
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.plan import Appointment
from tests.chaos.rest import open_at
from tests.chaos.victim import until
from worker.devstack.servers.process import ServerProcess

# A death that hit nothing does not count; it is tried again.
_TRIES = 3
# Some writes depend on how the life before ended: a life that does not come to its point is ended, and is one for the
# next.
_REACHED_WITHIN_S = 90.0

Say = Callable[[str], None]


async def die_everywhere(history: History, chosen: Sequence[Appointment], say: Say) -> None:
    """A life for each point. Raises NotProven where one is not reached while work is in hand, in three lives."""
    lived = False
    for number, appointment in enumerate(chosen, start=1):
        if appointment.when != "once" and not lived:
            await live_once(history)
            lived = True
        for attempt in range(1, _TRIES + 1):
            fault = await _life(history, appointment)
            if fault is not None and fault.in_flight:
                history.struck(fault)
                break
            say(f"{history.name}: {appointment.point} {'hit nothing' if fault else 'was not reached'}")
            if attempt == _TRIES:
                raise NotProven(f"{appointment.point}: not reached with work in hand, in {_TRIES} lives")
        say(
            f"{history.name} {number}/{len(chosen)}: {appointment.point}, {history.faults[-1].in_flight} in flight"
        )


async def live_once(history: History) -> None:
    """A life that ends by a kill at no particular point: what is taken from a former owner needs one."""
    process = history.victim.start()
    started = time.time()

    def stored() -> bool:
        process.require_alive()
        history.feed.require_alive()
        return history.feed.stored_since(started)

    try:
        await until(stored, "the first worker to store something")
    finally:
        process.popen.kill()
        await asyncio.to_thread(process.stop)
    await history.note_doubt()


async def _life(history: History, appointment: Appointment) -> Fault | None:
    """Start a doomed worker, wait until it is gone, and see what it left; None if it did not come to its point."""
    known = len(history.victim.deaths())
    process = history.victim.start(str(appointment.point))
    try:
        reached = await _end(history, appointment, process)
    finally:
        await asyncio.to_thread(process.stop)
    if not reached or (process.returncode == 0 and appointment.when == "stopping"):
        await history.note_doubt()
        return None
    deaths = history.victim.deaths()
    if process.returncode != -signal.SIGKILL or len(deaths) != known + 1:
        raise NotProven(f"{appointment.point}: the worker ended with {process.returncode} elsewhere")
    return await _counted(history, appointment, deaths[-1], process.pid)


async def _end(history: History, appointment: Appointment, process: ServerProcess) -> bool:
    """Wait until the worker is gone; False, with the worker killed, when it works on and its point does not come."""
    started = time.time()

    def gone() -> bool:
        history.feed.require_alive()
        return process.returncode is not None

    try:
        if appointment.when == "stopping":
            await until(lambda: gone() or history.feed.stored_since(started), "the worker to store something")
            process.popen.terminate()
        await until(gone, f"the death {appointment.point}", _REACHED_WITHIN_S)
    except TimeoutError as error:
        if appointment.when == "stopping" or not history.feed.stored_since(started):
            raise NotProven(f"{error}; its log says:\n{process.log_tail()}") from None
        process.popen.kill()
        return False
    return True


async def _counted(history: History, appointment: Appointment, death: Death, pid: int) -> Fault:
    """The death as a fault. Raises NotProven for a report of another process or point."""
    if (death.point, death.pid) != (str(appointment.point), pid):
        raise NotProven(f"{appointment.point}: the report speaks of {death.point} and process {death.pid}")
    await history.note_doubt()
    left = await open_at(history.world, history.feed, death.read, death.at)
    kind = f"worker killed at {appointment.stage}"
    return Fault(kind, death.point, death.at, left.total)
