"""Values in pictures read as in Grafana."""

import pytest

from dashboards.words import in_unit, short_time


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0, "s", "0 s"),
        (0.0123, "s", "12.3 ms"),
        (0.00002, "s", "20 µs"),
        (59.94, "s", "59.9 s"),
        (90.0, "s", "1.5 min"),
        (7_200.0, "s", "2 hour"),
        (190_000.0, "s", "2.2 day"),
        (1_536.0, "bytes", "1.5 KiB"),
        (0.995, "percentunit", "99.5%"),
        (31_000.0, "suffix: records", "31,000 records"),
        (12.0, "suffix: /s", "12 /s"),
        (4.0, "short", "4"),
        (12_340.0, "short", "12.3 K"),
        (1.0, "none", "1"),
    ],
)
def test_a_value_in_its_unit(value: float, unit: str, words: str) -> None:
    assert in_unit(value, unit) == words


def test_time_since_the_beginning() -> None:
    assert short_time(125.4) == "2:05"
