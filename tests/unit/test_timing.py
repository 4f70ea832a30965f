"""Time that is handed in: how turns are paced, and tasks ended whoever is cancelled meanwhile."""

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support.clocks import ManualClock
from worker.errors import Fatal
from worker.timing import Pace, Throttle, cancel_and_wait_shielded, complete


async def test_turns_begin_a_shortest_time_apart_and_the_first_after_a_pause_at_once() -> None:
    clock, stop = ManualClock(), asyncio.Event()
    pace, began = Pace(clock, 0.5), []
    for turn_s in (0.0, 0.25, 0.75, 60.0, 0.0):
        await pace.keep(stop)
        began.append(clock.monotonic())
        clock.advance(turn_s)
    assert began == [0.0, 0.5, 1.0, 1.75, 61.75]


@pytest.mark.parametrize(
    ("per_s", "began"), [(100, [0.0, 0.5, 2.5, 70.0, 70.1]), (None, [0.0, 0.0, 0.0, 67.5, 67.5])]
)
async def test_a_throttle_has_each_number_take_its_time_and_saves_none_up(
    per_s: int | None, began: list[float]
) -> None:
    clock = ManualClock()
    throttle, at = Throttle(clock, per_s), []
    for number, pause_s in ((50, 0.0), (200, 0.0), (100, 67.5), (10, 0.0), (1, 0.0)):
        await throttle.wait_for(number)
        at.append(clock.monotonic())
        clock.advance(pause_s)
    assert at == began


async def test_a_stop_ends_the_wait_for_the_next_turn() -> None:
    class Endless(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    stop = asyncio.Event()
    pace = Pace(Endless(), 0.5)
    await pace.keep(stop)
    waiting = asyncio.create_task(pace.keep(stop))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    await waiting


async def test_whoever_is_cancelled_while_ending_tasks_ends_them_all_the_same() -> None:
    let = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await let.wait()

    task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel_and_wait_shielded(task))
    for _ in range(3):
        await asyncio.sleep(0)
        ending.cancel()
    await asyncio.sleep(0)
    assert not ending.done()
    let.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


def test_the_clock_counts_the_time_a_machine_was_suspended() -> None:
    """Linux shows a machine that slept for an hour by the difference of two clocks; a time namespace makes one."""
    awake, slept = (_clock_in_a_machine_that_slept(seconds) for seconds in (0, 3600))
    assert 3600.0 <= slept - awake < 3660.0


def _clock_in_a_machine_that_slept(seconds: int) -> float:
    asked = "from worker.timing import SystemClock; print(SystemClock().monotonic())"
    namespace = ["unshare", "--user", "--map-root-user", "--time", "--boottime", str(seconds)]
    done = subprocess.run([*namespace, sys.executable, "-c", asked], capture_output=True, text=True)  # noqa: S603  # our own words
    if done.returncode:
        pytest.skip(f"no time namespaces here: {done.stderr}")
    return float(done.stdout)


async def test_what_must_be_told_is_told_before_a_cancellation_ends_us() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def tell() -> str:
        begun.set()
        await go_on.wait()
        told.append("told")
        return "told"

    ending = asyncio.create_task(complete(tell()))
    await begun.wait()
    for _ in range(3):
        ending.cancel()
        await asyncio.sleep(0)
    assert not ending.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert told == ["told"]
    assert await complete(tell()) == "told"


async def test_what_cannot_be_told_is_given_up_in_time() -> None:
    with pytest.raises(TimeoutError):
        await complete(asyncio.Event().wait(), limit_s=0.01)

    async def fail() -> None:
        raise Fatal("no")

    with pytest.raises(Fatal):
        await complete(fail())
