"""How often, how soon, how fast and in whose turn: decided from numbers alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clocks import ManualClock
from worker.retry.policy import RateCap, first_of_each, shared, turn_size, wait_s
from worker.settings import RetrySettings

SETTINGS = RetrySettings(backoff_s=10.0, longest_backoff_s=60.0)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 10), (2, 20), (3, 40), (4, 60), (1_000_000, 60)])
def test_waits_double_up_to_a_limit_and_are_spread_over_all_that_lies_below(
    attempt: int, longest: float
) -> None:
    source = random.Random(7)  # noqa: S311 - jitter
    waits = [wait_s(attempt, SETTINGS, source) for _ in range(2_000)]
    assert 0.1 <= min(waits) < longest * 0.05
    assert longest * 0.95 < max(waits) <= longest
    assert sum(waits) / len(waits) == pytest.approx(longest / 2, rel=0.1)


@given(
    per_s=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 0.6), st.integers(1, 60), st.floats(0, 0.4)), max_size=60),
)
def test_no_second_has_more_attempts_than_the_cap_wherever_it_begins(
    per_s: int, steps: list[tuple[float, int, float]]
) -> None:
    clock, cap = ManualClock(), RateCap(per_s)
    claimed: list[float] = []
    completed: list[float] = []
    for pause, wanted, duration in steps:
        clock.advance(pause)
        taken = min(wanted, cap.room(clock.monotonic()))
        claimed += [clock.monotonic()] * taken
        clock.advance(duration)
        cap.spend(taken, clock.monotonic())
        completed += [clock.monotonic()] * taken
    for moments in (claimed, completed):
        for begin in moments:
            assert sum(begin <= moment < begin + 1.0 for moment in moments) <= per_s


def test_work_that_takes_no_time_is_done_at_the_cap() -> None:
    clock, cap = ManualClock(), RateCap(25)
    done = 0
    while clock.monotonic() < 10:
        taken = min(turn_size(25), cap.room(clock.monotonic()))
        cap.spend(taken, clock.monotonic())
        done += taken
        clock.advance(0.1 if taken else cap.free_in_s(clock.monotonic()))
    assert 10 * 25 * 0.95 <= done <= 11 * 25


def test_attempts_that_never_began_take_no_room() -> None:
    cap = RateCap(10)
    cap.spend(3, 0.0)
    cap.spend(0, 0.0)
    assert cap.room(0.0) == 7


def test_a_new_holder_leaves_its_predecessor_s_second_alone() -> None:
    cap = RateCap(10)
    cap.fill(5.0)
    assert cap.room(5.9) == 0
    assert cap.room(6.0) == 10


def test_a_turn_is_a_tenth_of_a_second_s_worth_and_never_nothing() -> None:
    assert [turn_size(per_s) for per_s in (1, 9, 10, 11, 200)] == [1, 1, 1, 2, 20]


def test_after_a_slow_turn_the_next_one_makes_up_for_it_within_bounds() -> None:
    assert [turn_size(200, last_turn_s) for last_turn_s in (0.05, 0.15, 7.0)] == [20, 30, 40]


def test_of_each_stream_the_first_row_has_its_turn() -> None:
    assert first_of_each([1, 2, 3, 4, 5], ["a", "a", "b", "c", "c"]) == [1, 3, 4]
    assert first_of_each([], []) == []


@given(st.lists(st.integers()), st.lists(st.integers()), st.integers(1, 20))
def test_two_kinds_share_a_turn_and_neither_starves(some: list[int], others: list[int], limit: int) -> None:
    chosen = shared(some, others, limit)
    assert len(chosen) == min(limit, len(some) + len(others))
    first = min(len(some), max(limit // 2, limit - len(others)))
    assert chosen == [*some[:first], *others[: len(chosen) - first]]
    if some and others and limit > 1:
        assert 0 < first < len(chosen)
