"""Medians, ratios and percentiles of what was measured: pure, and never more exact than the measurement."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, and the lowest and highest value it was taken from."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> str:
        """As people read it."""
        return f"{shown(self.low)}-{shown(self.high)}"


def figure(values: Sequence[float]) -> Figure:
    """Of at least one value."""
    return Figure(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """The ratio of the medians; lowest and highest are ratios of runs of the same round.

    Rounds are interleaved, so that the two runs of a round met the same state of the machine.
    """
    rounds = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Figure(statistics.median(ours) / statistics.median(theirs), min(rounds), max(rounds))


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank: one of the values, never a mixture of two."""
    if not 0 < share <= 1:
        raise ValueError("a share lies above 0 and up to 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def shown(value: float) -> str:
    """Three digits that count; whole numbers from a hundred on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"
