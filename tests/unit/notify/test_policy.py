"""What a delivery makes of a row and of its channel."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.notify.delivery import Accepted, Delivery, Refused, Unavailable
from worker.notify.policy import (
    FAILURES_BEFORE_PAUSE,
    LONGEST_RETRY_AFTER_S,
    Breaker,
    RowState,
    next_state,
)
from worker.settings import NotifySettings
from worker.timing import backoff_s

SETTINGS = NotifySettings()
JITTER = st.floats(0, 1)


def after(deliveries: list[tuple[str, Delivery]], now: float = 100.0, jitter: float = 1.0) -> Breaker:
    breaker = Breaker()
    for key, delivery in deliveries:
        breaker = breaker.after(key, delivery, SETTINGS, now, jitter)
    return breaker


def test_what_was_accepted_is_sent() -> None:
    assert next_state(Accepted(), {"attempts": 3}, SETTINGS, 0.5) == RowState("sent")


@given(attempts=st.integers(1, 10**6), jitter=JITTER)
def test_a_receiver_that_is_away_is_waited_for_without_end(attempts: int, jitter: float) -> None:
    state = next_state(Unavailable("gone"), {"attempts": attempts, "refusals": 11}, SETTINGS, jitter)
    assert state.status == "pending"
    assert not state.refused
    assert 0 <= state.wait_s <= SETTINGS.longest_wait_unavailable_s


@given(asked_s=st.floats(0, 1e12), jitter=JITTER)
def test_a_row_waits_as_long_as_its_receiver_asks_but_an_hour_at_most(asked_s: float, jitter: float) -> None:
    state = next_state(Unavailable("429", asked_s), {"attempts": 1}, SETTINGS, jitter)
    assert state.wait_s >= min(asked_s, LONGEST_RETRY_AFTER_S)
    assert state.wait_s <= LONGEST_RETRY_AFTER_S


def test_refusals_count_and_the_last_one_fails_the_row() -> None:
    statuses = [
        next_state(Refused("HTTP 422"), {"attempts": 99, "refusals": refusals}, SETTINGS, 1.0).status
        for refusals in range(SETTINGS.max_refusals)
    ]
    assert statuses == ["pending"] * (SETTINGS.max_refusals - 1) + ["failed"]


def test_a_row_that_was_never_refused_has_no_count_yet() -> None:
    assert next_state(Refused("x"), {"attempts": 1}, NotifySettings(max_refusals=1), 1.0).status == "failed"


def test_a_reason_is_cut_to_what_a_row_holds() -> None:
    assert len(next_state(Unavailable("x" * 10_000), {"attempts": 1}, SETTINGS, 1.0).error or "") == 300


@given(attempt=st.integers(-5, 10**9), jitter=JITTER)
def test_waits_stay_between_nothing_and_their_limit(attempt: int, jitter: float) -> None:
    wait_s = backoff_s(attempt, 1.0, 60.0, jitter)
    assert math.isfinite(wait_s)
    assert 0 <= wait_s <= 60


def test_waits_double() -> None:
    assert [backoff_s(attempt, 1.0, 60.0, 1.0) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_one_row_that_fails_for_ever_never_closes_its_channel() -> None:
    breaker = after([("poison", Unavailable("500"))] * 1_000)
    assert breaker.closed_until <= 100.0
    assert not breaker.suspicious


def test_several_rows_that_fail_one_after_the_other_close_it_for_longer_and_longer() -> None:
    failures: list[tuple[str, Delivery]] = [
        (f"row {n}", Unavailable("refused")) for n in range(FAILURES_BEFORE_PAUSE)
    ]
    first = after(failures)
    assert first.suspicious
    assert first.closed_until == 101.0
    again = first.after("row 9", Unavailable("refused"), SETTINGS, first.closed_until, 1.0)
    assert again.closed_until - first.closed_until == 2.0


def test_failures_of_sends_begun_before_it_closed_do_not_prolong_it() -> None:
    failures: list[tuple[str, Delivery]] = [(f"row {n}", Unavailable("refused")) for n in range(16)]
    assert after(failures) == after(failures[:FAILURES_BEFORE_PAUSE])


@pytest.mark.parametrize("answer", [Accepted(), Refused("HTTP 400")])
def test_any_answer_about_a_message_opens_it(answer: Delivery) -> None:
    failures: list[tuple[str, Delivery]] = [
        (f"row {n}", Unavailable("refused")) for n in range(FAILURES_BEFORE_PAUSE)
    ]
    breaker = after([*failures, ("row 9", answer)])
    assert not breaker.suspicious
    assert breaker.failing == frozenset()


def test_one_request_for_time_closes_it_at_once_and_a_late_success_does_not_shorten_it() -> None:
    breaker = after([("row 1", Unavailable("HTTP 429", 30.0)), ("row 2", Accepted())])
    assert breaker.closed_until == 130.0


@given(asked_s=st.floats(0, 1e12))
def test_no_receiver_closes_it_for_more_than_an_hour(asked_s: float) -> None:
    assert after([("row", Unavailable("HTTP 429", asked_s))]).closed_until <= 100.0 + LONGEST_RETRY_AFTER_S
