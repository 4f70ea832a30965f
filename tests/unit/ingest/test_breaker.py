"""When the breaker opens, half-opens and closes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ingest.breaker import Breaker, BreakerOptions
from worker.kafka.record import Partition

ONE, OTHER = Partition("events", 0), Partition("events", 1)
OPTIONS = BreakerOptions()


def noted(breaker: Breaker, at: float, records: int, dead_letters: int) -> bool | None:
    """What becomes of partition ONE by this batch: opened, closed or neither."""
    return breaker.note(at, {ONE: records}, {ONE: dead_letters}).get(ONE)


@pytest.mark.parametrize(
    ("records", "dead_letters", "opens"),
    [(200, 41, True), (200, 40, None), (199, 199, None), (20_000, 4_001, True), (20_000, 4_000, None)],
)
def test_more_than_a_fifth_of_at_least_two_hundred_records_opens_it(
    records: int, dead_letters: int, opens: bool | None
) -> None:
    assert noted(Breaker(OPTIONS), 0, records, dead_letters) is opens


def test_batches_of_thirty_seconds_count_together_and_older_ones_do_not() -> None:
    together, apart = Breaker(OPTIONS), Breaker(OPTIONS)
    assert noted(together, 0, 100, 100) is None
    assert noted(together, 30, 100, 0) is True
    assert noted(apart, 0, 100, 100) is None
    assert noted(apart, 30.1, 199, 0) is None


def test_other_partitions_are_read_on() -> None:
    breaker = Breaker(OPTIONS)
    assert breaker.note(0, {ONE: 200, OTHER: 200}, {ONE: 200}) == {ONE: True}
    assert breaker.open == {ONE}


def test_after_thirty_seconds_a_probe_decides() -> None:
    breaker = Breaker(OPTIONS)
    noted(breaker, 0, 200, 200)
    assert breaker.due(29.9) is None
    assert breaker.due(30) == ONE
    assert breaker.due(30, besides={ONE}) is None  # somebody else holds it
    assert noted(breaker, 31, 10, 3) is None  # still poison: it rests again
    assert breaker.due(60.9) is None
    assert breaker.due(61) == ONE
    assert noted(breaker, 62, 10, 2) is False
    assert breaker.open == frozenset()


@pytest.mark.parametrize("dead_letters", [0, 50])
def test_what_was_read_before_it_opened_is_no_probe(dead_letters: int) -> None:
    breaker = Breaker(OPTIONS)
    noted(breaker, 0, 200, 200)
    assert noted(breaker, 0.2, 50, dead_letters) is None
    assert breaker.open == {ONE}
    assert breaker.due(30) == ONE


def test_a_probe_that_finds_nothing_closes_it_and_the_window_begins_again() -> None:
    breaker = Breaker(OPTIONS)
    noted(breaker, 0, 200, 200)
    assert noted(breaker, 31, 0, 0) is False
    assert noted(breaker, 32, 199, 199) is None


def test_a_new_assignment_knows_nothing_of_the_old_one() -> None:
    breaker = Breaker(OPTIONS)
    noted(breaker, 0, 200, 200)
    breaker.forget()
    assert breaker.open == frozenset()
    assert noted(breaker, 1, 199, 199) is None


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 300), st.integers(0, 300)), max_size=40))
def test_what_is_open_becomes_due_and_what_is_healthy_never_opens(
    batches: list[tuple[float, int, int]],
) -> None:
    breaker, healthy, now = Breaker(OPTIONS), Breaker(OPTIONS), 0.0
    for pause, records, dead_letters in batches:
        now += pause
        noted(breaker, now, records, min(dead_letters, records))
        noted(healthy, now, records, records // 5)
        assert (breaker.due(now + OPTIONS.pause_s) == ONE) == (ONE in breaker.open)
    assert healthy.open == frozenset()
