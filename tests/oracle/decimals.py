"""Numbers as docs/projections.md takes them: the decimal that JSON wrote, rounded once to an integer."""

from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from math import isfinite
from typing import Any

_LONGEST_S = Decimal(10_000_000)


def decimal(number: float) -> Decimal:
    """The decimal that names the number, 0.29 for 0.29."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(int(number))


def rounded(number: float, scale: int) -> int:
    """Scores, grades and ratings in hundredths (scale 100): half up."""
    return int((decimal(number) * scale).to_integral_value(ROUND_HALF_UP))


def cut(number: float, scale: int) -> int:
    """Progress in hundredths of a percent: down, so that only the whole is the whole."""
    return int((decimal(number) * scale).to_integral_value(ROUND_FLOOR))


def whole(value: Any) -> Any:
    """A whole number as an integer, however it was written; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def milliseconds(seconds: object) -> int | None:
    """A time in whole milliseconds, half up; None for what is no time."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not isfinite(seconds) or seconds < 0:
        return None
    return int((min(decimal(seconds), _LONGEST_S) * 1000).to_integral_value(ROUND_HALF_UP))


def mean(total: int, count: int) -> int:
    """The whole number nearest to the mean, half up."""
    return (2 * total + count) // (2 * count)
