"""What a real Prometheus answers to the dashboards' queries, as Grafana would show it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.boards import Asked
from tests.support.prometheus import Prometheus

# As Grafana would choose it for this scrape interval: four scrapes and more.
RATE_S = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A series as a panel shows it."""

    name: str
    points: Sequence[tuple[float, float]]


async def now(prometheus: Prometheus, asked: Asked, range_s: float) -> list[Line]:
    """What the query says at this moment, without what is no number."""
    expression = asked.spelt(rate_s=RATE_S, range_s=math.ceil(range_s))
    samples = await prometheus.query(expression)
    for each in samples:
        assert asked.legend_labels <= each.labels.keys(), f"{asked}: its series have {sorted(each.labels)}"
    return [
        Line(asked.named(each.labels), [(0.0, each.value)]) for each in samples if math.isfinite(each.value)
    ]


async def over_time(
    prometheus: Prometheus, asked: Asked, begin_s: float, end_s: float, step_s: float
) -> list[Line]:
    """What the query says from one Unix time to another; of a number only how it stands at the end."""
    expression = asked.spelt(rate_s=RATE_S, range_s=math.ceil(end_s - begin_s))
    begin_s = end_s if asked.instant else begin_s
    series = await prometheus.query_range(expression, begin_s, end_s, step_s)
    lines = [Line(asked.named(each.labels), each.points) for each in series]
    return [each for each in lines if any(math.isfinite(value) for _, value in each.points)]


async def unanswered(prometheus: Prometheus, pending: Iterable[Asked], range_s: float) -> list[Asked]:
    """Those that have no number at this moment."""
    return [each for each in pending if not await now(prometheus, each, range_s)]
