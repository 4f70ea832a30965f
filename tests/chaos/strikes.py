"""MongoDB is hit at the worker's points instead of the worker: mongod killed, or a reply lost on the wire."""

import time
from collections.abc import Awaitable, Callable, Sequence

from tests.chaos.deaths import Say, live_once
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.launcher import ACT_VARIABLE
from tests.chaos.plan import Appointment
from tests.chaos.proxy import Loss
from tests.chaos.victim import until
from worker.devstack.servers.process import ServerProcess


async def kill_mongod_everywhere(history: History, chosen: Sequence[Appointment], say: Say) -> None:
    """At each point mongod dies by SIGKILL and is started again on its files; the worker lives through it."""

    async def heal() -> None:
        await history.world.restart_mongod()

    await _everywhere(
        history, chosen, "mongod killed", lambda: f"kill:{history.world.mongod.process.pid}", heal, say
    )


async def lose_replies_everywhere(
    history: History, chosen: Sequence[Appointment], loss: Loss, say: Say
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


def losable(chosen: Sequence[Appointment]) -> Sequence[Appointment]:
    """Those of the points at which a reply can be lost: before what goes through the proxy and is answered."""
    return [each for each in chosen if each.point.side == "before" and each.point.command in _ON_THE_WIRE]


_ON_THE_WIRE = frozenset({"insert", "update", "delete", "findAndModify", "commitTransaction", "killSessions"})


async def _everywhere(
    history: History,
    chosen: Sequence[Appointment],
    kind: str,
    act: Callable[[], str],
    heal: Callable[[], Awaitable[None]],
    say: Say,
) -> None:
    if chosen and chosen[0].when != "once":
        await live_once(history)
    for number, appointment in enumerate(chosen, start=1):
        # A point of the worker's start may come before the feed's first records.
        if not history.feed.waiting:
            await history.feed.burst()
        process = history.victim.start(str(appointment.point), settings={ACT_VARIABLE: act()})
        try:
            fault = await _one(history, appointment, process, kind, heal)
        finally:
            process.popen.kill()
            process.popen.wait()
        await history.note_doubt()
        history.struck(fault)
        say(
            f"{history.name} {number}/{len(chosen)}: {kind} at {appointment.point}, {fault.in_flight} in flight"
        )


async def _one(
    history: History,
    appointment: Appointment,
    process: ServerProcess,
    kind: str,
    heal: Callable[[], Awaitable[None]],
) -> Fault:
    """Wait for the point, heal the server, and wait until events are stored again."""
    known, started, feed = len(history.victim.deaths()), time.time(), history.feed

    def reached() -> bool:
        feed.require_alive()
        return len(history.victim.deaths()) > known or process.returncode is not None

    if appointment.when == "stopping":
        await until(lambda: reached() or feed.stored_since(started), "the worker to store something")
        process.popen.terminate()
    await until(reached, f"the point {appointment.point}")
    deaths = history.victim.deaths()[known:]
    if [death.point for death in deaths] != [str(appointment.point)]:
        raise NotProven(f"{appointment.point}: the worker ended with {process.returncode} elsewhere")
    in_flight = len(feed.waiting)
    await heal()
    healed = time.time()
    await history.note_doubt()
    if appointment.when != "stopping":

        def again() -> bool:
            process.require_alive()
            return feed.stored_since(healed)

        await until(again, f"events to be stored again after {kind} at {appointment.point}")
    recovered = next((each.seen - healed for each in feed.seen if each.seen > healed), None)
    return Fault(f"{kind} at {appointment.stage}", deaths[0].point, deaths[0].at, in_flight, recovered)
