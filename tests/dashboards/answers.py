"""What a real Prometheus answers to the dashboards' queries, as Grafana would show it."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.boards import Asked
from tests.support.prometheus import Prometheus

# As Grafana would choose it for this scrape interval: four scrapes and more.
RATE_S = 10
# As often as Prometheus scrapes in these runs.
STEP_S = 1.0
# A dashboard of Grafana asks as many at once.
_BESIDE_EACH_OTHER = 6


@dataclass(frozen=True, slots=True)
class Line:
    """A series as a panel shows it."""

    name: str
    points: Sequence[tuple[float, float]]


async def over_time(
    prometheus: Prometheus, asked: Asked, begin_s: float, end_s: float, step_s: float
) -> list[Line]:
    """What the query says from one Unix time to another; of a number only how it stands at the end."""
    expression = asked.spelt(rate_s=RATE_S, range_s=math.ceil(end_s - begin_s))
    begin_s = end_s if asked.instant else begin_s
    series = await prometheus.query_range(expression, begin_s, end_s, step_s)
    for each in series:
        assert asked.legend_labels <= each.labels.keys(), f"{asked}: its series have {sorted(each.labels)}"
    lines = [Line(asked.named(each.labels), each.points) for each in series]
    return [each for each in lines if any(math.isfinite(value) for _, value in each.points)]


async def unanswered(prometheus: Prometheus, pending: Iterable[Asked], begin_s: float) -> list[Asked]:
    """Those that have had no number since the beginning."""
    end_s, places = time.time(), asyncio.Semaphore(_BESIDE_EACH_OTHER)

    async def is_answered(each: Asked) -> bool:
        async with places:
            return bool(await over_time(prometheus, each, begin_s, end_s, STEP_S))

    asked = list(pending)
    answers = await asyncio.gather(*map(is_answered, asked))
    return [each for each, is_there in zip(asked, answers, strict=True) if not is_there]
