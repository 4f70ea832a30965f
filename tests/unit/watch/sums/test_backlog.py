"""Who is behind counts in larger transactions, and in smaller ones again where they meet others."""

from typing import Any

import pytest

from tests.support.clocks import ManualClock
from worker.errors import Retryable
from worker.telemetry.metrics import Metrics
from worker.watch.sums.attempt import Attempt, Keys
from worker.watch.sums.counting import in_a_backlog
from worker.watch.sums.runner import Dependencies, Runner

MOST = 300


@pytest.mark.parametrize(
    ("waiting", "at_once"),
    [(1, 300), (1_200, 300), (1_201, 301), (1_999, 500), (4_800, 1_200), (10_000, 1_200)],
)
def test_a_quarter_of_what_waits_is_counted_at_once_within_bounds(waiting: int, at_once: int) -> None:
    assert in_a_backlog(MOST, waiting) == at_once


class Met:
    """Transactions of which the first few meet others; remembers how much each was about, and what it held."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.sizes: list[int] = []
        self.held: list[int] = []

    async def run(self, work: Any) -> Any:
        return await work(None)

    async def transact(self, attempt: Attempt) -> None:
        self.sizes.append(len(attempt.keys))
        self.held.append(len(attempt.locked))
        attempt.concerned |= attempt.keys
        if self.left:
            self.left -= 1
            raise Retryable("others were faster")


async def committed(met: Met, keys: Keys) -> list[int]:
    """How much each transaction was about that committed."""

    async def keep_alive() -> None: ...

    parts: Any = met
    given = Dependencies(parts, parts, ManualClock(), Metrics(), keep_alive, "test", seed=1)
    runner = Runner(given, MOST, times=4)
    return [len(attempt.keys) async for attempt, _ in runner.run(keys, met.transact)]


def numbered(count: int) -> Keys:
    return frozenset(("learner", number) for number in range(count))


async def test_a_large_transaction_that_meets_others_is_split_at_once_and_nothing_large_is_held() -> None:
    met = Met(times=1)
    assert await committed(met, numbered(1_200)) == [300, 300, 600]  # it grows again where all goes well
    assert (met.sizes, set(met.held)) == ([1_200, 300, 300, 600], {0})


async def test_one_of_the_usual_size_is_tried_again_and_holds_what_it_was_about_to_write() -> None:
    met = Met(times=1)
    assert await committed(met, numbered(MOST)) == [MOST]
    assert (met.sizes, met.held) == ([MOST, MOST], [0, MOST])


async def test_what_meets_nobody_is_counted_at_once() -> None:
    assert await committed(Met(times=0), numbered(1_200)) == [1_200]
