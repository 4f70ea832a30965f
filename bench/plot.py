"""The picture of a result: `python -m bench.plot RESULT.json`, in the peers' environment, which has matplotlib."""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure


def draw(result: dict[str, Any], path: Path) -> None:
    """Rates of all contestants, median with lowest and highest; latencies below where they were measured."""
    present = [each for each in result["contestants"] if "absent" not in each]
    present.sort(key=lambda each: median(each["events_per_s"]))
    latencies = result.get("latency", [])
    figure = Figure(figsize=(9, 4 + 3 * bool(latencies)), layout="constrained")  # no screen is needed
    axes = figure.subplots(1 + bool(latencies), 1, squeeze=False)
    rates, (names, medians) = axes[0][0], _bars(present)
    low = [middle - min(each["events_per_s"]) for middle, each in zip(medians, present, strict=True)]
    high = [max(each["events_per_s"]) - middle for middle, each in zip(medians, present, strict=True)]
    colours = ["tab:green" if name.startswith("ours") else "tab:gray" for name in names]
    rates.barh(names, medians, xerr=[low, high], color=colours, capsize=3)
    rates.set_xlabel("events/s, median of the rounds with lowest and highest")
    rates.set_title(f"{result['events']:,} events of 2,000 interleaved learners, {result['when'][:10]}")
    if latencies:
        _latency(axes[1][0], latencies)
    figure.savefig(path, dpi=110)


def _bars(present: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    return [each["name"] for each in present], [median(each["events_per_s"]) for each in present]


def _latency(axis: Any, latencies: list[dict[str, Any]]) -> None:
    places = range(len(latencies))
    for number, name in enumerate(("p50_ms", "p99_ms", "max_ms")):
        axis.bar(
            [place + 0.25 * (number - 1) for place in places],
            [each[name] for each in latencies],
            0.25,
            label=name,
        )
    axis.set_xticks(list(places), [f"{each['rate_per_s']:,} events/s" for each in latencies])
    axis.set_ylabel("published to visible, ms")
    axis.set_yscale("log")
    axis.legend()


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text(encoding="utf-8")), source.with_suffix(".png"))
