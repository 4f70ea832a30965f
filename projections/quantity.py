"""Quantities that add up are integers: seconds become milliseconds, percentages become hundredths.

A float is read as the shortest decimal that names it, which is what the producer wrote: 0.29 is 29/100,
not the binary number next to it. All arithmetic after that is exact: no sum depends on the order of arrival.
"""

from decimal import ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from math import inf

# Longest time one event may add, the contract's own bound: the sum then fits BSON's 64 bits for any stream.
MAX_SECONDS = 10_000_000

# Digits enough for the shortest decimal of any float (17), shifted; independent of the thread's context.
_CONTEXT = Context(prec=40)
_POWERS = (1, 10, 100, 1_000, 10_000)


def milliseconds(seconds: object) -> int | None:
    """Whole milliseconds, half rounded up, at most `MAX_SECONDS`; None for anything but a number >= 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:
        return None
    if seconds >= MAX_SECONDS:
        return MAX_SECONDS * 1000
    return _scaled(seconds, 3, ROUND_HALF_UP)


def thousandths(seconds: int | float) -> int:
    """Whole milliseconds of a sum of any size, half rounded up."""
    return _scaled(seconds, 3, ROUND_HALF_UP)


def hundredths(percent: int | float) -> int:
    """Hundredths of a score or grade, half rounded up: 66.666 is 6667."""
    return _scaled(percent, 2, ROUND_HALF_UP)


def hundredths_reached(percent: int | float) -> int:
    """Hundredths of a progress percentage, rounded down: only a full 100 is 10000."""
    return _scaled(percent, 2, ROUND_FLOOR)


def fraction_reached(fraction: int | float) -> int:
    """Hundredths of a percent of a progress fraction 0-1, rounded down: only a full 1 is 10000."""
    return _scaled(fraction, 4, ROUND_FLOOR)


def mean(total: int, count: int) -> int:
    """Whole mean of non-negative integers, half rounded up."""
    return (2 * total + count) // (2 * count)


def _scaled(value: int | float, places: int, rounding: str) -> int:
    if isinstance(value, int):
        return int(value) * _POWERS[places]
    shifted = Decimal(repr(value)).scaleb(places, _CONTEXT)
    return int(shifted.to_integral_value(rounding, _CONTEXT))
