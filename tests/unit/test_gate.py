"""What operators have paused or slowed down, as loops see it."""

import asyncio

import pytest

from tests.support.clocks import ManualClock
from worker.gate import Gate, Rate, Switches

PARTITIONS = [("a", 0), ("a", 1), ("b", 0)]


def test_without_an_operator_everything_passes() -> None:
    gate = Gate()
    assert not gate.pauses("ingest")
    assert gate.held("ingest", PARTITIONS) == frozenset()
    assert gate.rate("ingest_per_s")() is None


def test_a_paused_role_holds_all_of_its_partitions_and_no_other_role() -> None:
    gate = Gate(Switches(roles=frozenset({"ingest"})))
    assert gate.held("ingest", PARTITIONS) == set(PARTITIONS)
    assert gate.pauses("ingest")
    assert not gate.pauses("progress")


def test_of_the_partitions_those_are_held_that_are_named_or_were_stopped_here() -> None:
    gate = Gate(Switches(partitions=frozenset({("a", 1), ("c", 7)})))
    before = gate.begin_read()
    gate.hold(("b", 0))
    gate.was_read(before)
    assert gate.held("ingest", PARTITIONS) == {("a", 1), ("b", 0)}
    after = gate.begin_read()
    assert gate.held("ingest", PARTITIONS) == {("a", 1), ("b", 0)}
    gate.was_read(after)
    assert gate.held("ingest", PARTITIONS) == {("a", 1)}
    gate.turn(Switches())
    assert gate.held("ingest", PARTITIONS) == frozenset()


async def _done_within(rate: Rate, clock: ManualClock, seconds: float, most: int) -> int:
    """How much a loop does in so many seconds that takes all the room there is."""
    done, stop, end = 0, asyncio.Event(), clock.monotonic() + seconds
    while clock.monotonic() < end:
        if await rate.ready(stop):
            room = rate.room(most)
            assert 0 < room <= most
            rate.spend(room)
            done += room
        clock.advance(0.01)
    return done


@pytest.mark.parametrize("per_s", [1, 3, 100, 2_500])
async def test_a_rate_lets_so_many_through_in_a_second_and_a_second_s_worth_at_once(per_s: int) -> None:
    clock = ManualClock()
    rate = Rate(clock, lambda: float(per_s))
    assert rate.room(10_000) == per_s
    done = await _done_within(rate, clock, 60.0, 10_000)
    assert 60 * per_s <= done <= 61.5 * per_s + 1  # the last turn may end behind the minute


async def test_without_a_limit_all_there_is_room_for_passes_at_once() -> None:
    rate = Rate(ManualClock(), lambda: None)
    rate.spend(1_000_000)
    assert await rate.ready(asyncio.Event())
    assert rate.room(5_000) == 5_000
    assert not rate.limited


async def test_a_limit_that_is_changed_holds_from_then_on() -> None:
    clock, limits = ManualClock(), [10.0]
    rate = Rate(clock, lambda: limits[0] if limits else None)
    rate.spend(1_000)
    assert not await rate.ready(asyncio.Event())
    limits[0] = 1_000.0
    clock.advance(1.0)
    assert await rate.ready(asyncio.Event())
    rate.spend(5_000)
    limits.clear()
    assert rate.room(7) == 7


async def test_a_stop_ends_the_wait_for_room() -> None:
    class Endless(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    stop, rate = asyncio.Event(), Rate(Endless(), lambda: 1.0)
    rate.spend(100)
    waiting = asyncio.create_task(rate.ready(stop))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    assert await waiting is False
