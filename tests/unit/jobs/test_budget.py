"""A share of the CPU: rests grow with what was computed, and somebody looks whether the work is still wanted."""

import pytest

from tests.support.clocks import ManualClock
from worker.jobs.budget import CpuBudget


class Computed:
    """Seconds of CPU, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_it_rests_until_what_was_computed_is_within_the_share() -> None:
    clock, computed, looks = ManualClock(), Computed(), list[float]()

    async def ready() -> None:
        looks.append(clock.monotonic())

    budget = CpuBudget(clock, 1.0, ready, cores=2, computed_s=computed)
    began = clock.monotonic()
    for _ in range(3):
        computed.seconds += 0.4
        await budget.rest()
    assert clock.monotonic() - began == pytest.approx(3 * 0.4 / 0.02)
    assert 12 <= len(looks) <= 15  # every five seconds of three times twenty
    assert budget.taken_s == pytest.approx(1.2)


async def test_time_that_passed_by_itself_needs_no_rest() -> None:
    clock, computed = ManualClock(), Computed()

    async def ready() -> None:
        raise AssertionError("it did not rest")

    budget = CpuBudget(clock, 50.0, ready, cores=1, computed_s=computed)
    computed.seconds += 1.0
    clock.advance(2.0)
    await budget.rest()
    assert budget.taken_s == pytest.approx(1.0)
