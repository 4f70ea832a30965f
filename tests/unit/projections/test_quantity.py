"""Quantities become integers by the decimal the producer wrote."""

from fractions import Fraction
from math import floor, inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.quantity import (
    MAX_SECONDS,
    fraction_reached,
    hundredths,
    hundredths_reached,
    mean,
    milliseconds,
)


@given(st.floats(0, MAX_SECONDS) | st.integers(0, MAX_SECONDS))
def test_seconds_become_the_nearest_millisecond_half_up(seconds: float) -> None:
    assert milliseconds(seconds) == floor(Fraction(repr(seconds)) * 1000 + Fraction(1, 2))


@given(st.floats(0, 100) | st.integers(0, 100))
def test_scores_round_half_up_and_percentages_reached_round_down(percent: float) -> None:
    exact = Fraction(repr(percent)) * 100
    assert hundredths(percent) == floor(exact + Fraction(1, 2))
    assert hundredths_reached(percent) == floor(exact)


@given(st.floats(0, 1))
def test_only_a_whole_fraction_reaches_a_hundred_percent(fraction: float) -> None:
    assert (fraction_reached(fraction) == 10_000) == (fraction == 1)


def test_a_decimal_is_not_the_binary_number_next_to_it() -> None:
    assert fraction_reached(0.29) == 2900
    assert hundredths(1.005) == 101
    assert milliseconds(0.0005) == 1


@pytest.mark.parametrize("value", [None, True, "12", -1, -0.001, nan, inf, [1], {}])
def test_what_is_no_number_of_seconds_is_none(value: Any) -> None:
    assert milliseconds(value) is None


def test_one_event_cannot_report_more_than_the_contract_allows() -> None:
    assert milliseconds(1e300) == milliseconds(10**30) == MAX_SECONDS * 1000


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_the_mean_is_the_nearest_integer_half_up(total: int, count: int) -> None:
    assert mean(total, count) == floor(Fraction(total, count) + Fraction(1, 2))
