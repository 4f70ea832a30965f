"""A step is repeated for as long as its dependency is away, and for nothing else."""

import gc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from worker.errors import Fenced, Refused, Retryable
from worker.storage.retrying import retrying, retrying_for


class HandClock:
    """Time that passes only by sleeping, at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic(), UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def _failing(times: int, error: Exception) -> Callable[[], Awaitable[str]]:
    left = [error] * times

    async def operation() -> str:
        if left:
            raise left.pop()
        return "done"

    return operation


async def test_a_step_that_works_is_done_once_without_waiting() -> None:
    clock, seen = HandClock(), list[Retryable]()
    assert await retrying(_failing(0, Retryable()), clock=clock, on_retry=seen.append) == "done"
    assert (clock.slept, seen) == ([], [])


async def test_a_step_that_works_leaves_no_cycle_behind() -> None:
    operation, clock = _failing(0, Retryable()), HandClock()
    gc.collect()
    gc.disable()
    try:
        await retrying(operation, clock=clock, on_retry=lambda error: None)
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_a_dependency_that_comes_back_after_hours_loses_nothing() -> None:
    clock, seen, error = HandClock(), list[Retryable](), Retryable("away")
    assert await retrying(_failing(5_000, error), clock=clock, on_retry=seen.append) == "done"
    assert seen == [error] * 5_000
    assert clock.monotonic() > 3_600


async def test_waits_grow_with_jitter_and_stay_within_their_bounds() -> None:
    clock = HandClock()
    await retrying(_failing(2_000, Retryable()), clock=clock, on_retry=lambda error: None)
    assert all(0.05 <= wait <= 5.0 for wait in clock.slept)
    assert max(clock.slept[:3]) <= 0.4
    late = clock.slept[20:]
    assert max(late) > 4.0
    assert min(late) < 1.0


@pytest.mark.parametrize("error", [Refused("content"), Fenced("newer owner"), ValueError("bug")])
async def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    clock, seen = HandClock(), list[Retryable]()
    with pytest.raises(type(error)) as caught:
        await retrying(_failing(1, error), clock=clock, on_retry=seen.append)
    assert caught.value is error
    assert (clock.slept, seen) == ([], [])


async def test_with_a_limit_the_last_failure_is_raised_once_it_is_over() -> None:
    clock = HandClock()
    seen: list[Retryable] = []
    operation = _failing(1_000, Retryable("away"))
    with pytest.raises(Retryable, match="away"):
        await retrying_for(30.0, operation, clock=clock, on_retry=seen.append)
    assert 30.0 <= clock.monotonic() < 40.0
    assert len(seen) == len(clock.slept)


async def test_within_the_limit_it_is_repeated_like_any_other_and_other_errors_are_raised_at_once() -> None:
    clock = HandClock()
    assert await retrying_for(30.0, _failing(3, Retryable("away")), clock=clock) == "done"
    with pytest.raises(Refused):
        await retrying_for(30.0, _failing(1, Refused("too large")), clock=clock)
    assert len(clock.slept) == 3
