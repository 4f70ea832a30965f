"""Medians, ratios and percentiles are what their names say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, figure, percentile, ratio, shown

RATES = st.lists(st.floats(min_value=1, max_value=1e6), min_size=1, max_size=9)


def test_a_figure_is_the_median_with_lowest_and_highest() -> None:
    assert figure([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    assert ratio([10.0, 20.0, 30.0], [10.0, 5.0, 10.0]) == Figure(2.0, 1.0, 4.0)


def test_rounds_that_do_not_belong_together_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@given(RATES)
def test_whoever_is_compared_with_itself_is_as_fast(rates: list[float]) -> None:
    assert ratio(rates, rates) == Figure(1.0, 1.0, 1.0)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(each) for each in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]


def test_with_few_values_the_99th_percentile_is_the_slowest() -> None:
    assert percentile([5.0, 1.0, 3.0], 0.99) == 5.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_beyond_the_values_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (0.8, "0.800"), (12.345, "12.3"), (123.4, "123"), (12_345.0, "12,300")],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert shown(value) == text
