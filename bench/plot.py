"""The picture of a result: `python -m bench.plot RESULT.json`, in the peers' environment, which has matplotlib."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure


def draw(result: dict[str, Any], path: Path) -> None:
    """Rates of all contestants, median with lowest and highest, and below them whatever else was measured."""
    panels: list[Callable[[Any], None]] = []
    if present := [each for each in result.get("contestants", []) if "absent" not in each]:
        title = f"{result['events']:,} events of 2,000 interleaved learners, {result['when'][:10]}"
        panels.append(lambda axis: _rates(axis, {each["name"]: each for each in present}, title))
    if many := result.get("many", []):
        named = {f"{each['name']}\n{_scene(each)}": each for each in many}
        panels.append(lambda axis: _rates(axis, named, "Few and many learners"))
    if latencies := result.get("latency", []):
        panels.append(lambda axis: _latency(axis, latencies))
    figure = Figure(figsize=(9, 4 * len(panels)), layout="constrained")  # no screen is needed
    for panel, (axis,) in zip(panels, figure.subplots(len(panels), 1, squeeze=False), strict=True):
        panel(axis)
    figure.savefig(path, dpi=110)


def _scene(each: dict[str, Any]) -> str:
    return f"{each['learners']:,} learners{', documents' if each['documents_present'] else ''}"


def _rates(axis: Any, named: dict[str, dict[str, Any]], title: str) -> None:
    rates = sorted(((median(each["events_per_s"]), name) for name, each in named.items()))
    medians, names = [rate for rate, _ in rates], [name for _, name in rates]
    low = [rate - min(named[name]["events_per_s"]) for rate, name in rates]
    high = [max(named[name]["events_per_s"]) - rate for rate, name in rates]
    colours = ["tab:green" if name.startswith("ours") else "tab:gray" for name in names]
    axis.barh(names, medians, xerr=[low, high], color=colours, capsize=3)
    axis.set_xlabel("events/s, median of the rounds with lowest and highest")
    axis.set_title(title)


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
