"""A dashboard as a picture: its JSON and what Prometheus answered, drawn by matplotlib; Grafana has no part in it.

`python -m dashboards.picture ANSWERS.json PICTURE.png`, in the peers' environment, which has matplotlib. The answers
are a file with the dashboard, lines by the panels' ids, and from when to when.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dashboards.words import in_unit, on_axis, short_time

WIDTH_INCH = 18.0
GRID_COLUMNS = 24
GRID_ROW_INCH = 0.36
HEAD_INCH = 0.9
MOST_NAMES = 6
_MOST_TICKS = 7
_ROUND_S = (10, 15, 30, 60, 300)
COLOURS = {"green": "#37872D", "orange": "#FA6400", "red": "#C4162A", "blue": "#1F60C4"}
LINES = ("#1F60C4", "#8F3BB8", "#E0B400", "#0F7F7F", "#B877D9", "#FF7383", "#705DA0", "#447EBC")
TEXT, FAINT, PAPER, BACKGROUND = "#24292E", "#6E7781", "#FFFFFF", "#F4F5F5"

Panel = Mapping[str, Any]
Lines = Sequence[Mapping[str, Any]]


def draw(answers: Mapping[str, Any], path: Path) -> None:
    """The whole dashboard, each panel where its grid position says."""
    dashboard = answers["dashboard"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    height = rows * GRID_ROW_INCH + HEAD_INCH
    figure = Figure(figsize=(WIDTH_INCH, height), facecolor=BACKGROUND)
    top = 1 - 0.3 / height
    figure.text(0.008, top, dashboard["title"], size=17, weight="bold", color=TEXT, va="top")
    figure.text(0.008, top - 0.33 / height, dashboard["description"], size=10, color=FAINT, va="top")
    seconds = round(answers["end"] - answers["begin"])
    note = f"Drawn from the queries, not by Grafana: {seconds} s of a real run, asked of a real Prometheus"
    figure.text(0.992, top, note, size=10, color=FAINT, va="top", ha="right")
    for panel in dashboard["panels"]:
        place = _Place(panel["gridPos"], height)
        if panel["type"] == "row":
            figure.text(
                0.008, place.bottom + 0.1 / height, panel["title"], size=12, weight="bold", color=TEXT
            )
            continue
        _frame(figure, panel, place)
        lines = answers["lines"].get(str(panel["id"]), [])
        _DRAWERS[panel["type"]](figure, panel, place, lines, answers)
    figure.savefig(path, dpi=80)


class _Place:
    """Where a panel lies in the figure, in shares of its size; `inch` is the share of an inch of height."""

    def __init__(self, grid: Mapping[str, int], height: float) -> None:
        self.inch = 1 / height
        self.left = grid["x"] / GRID_COLUMNS + 0.004
        self.width = grid["w"] / GRID_COLUMNS - 0.006
        self.top = 1 - (HEAD_INCH + grid["y"] * GRID_ROW_INCH + 0.04) * self.inch
        self.bottom = 1 - (HEAD_INCH + (grid["y"] + grid["h"]) * GRID_ROW_INCH - 0.04) * self.inch
        self.right = self.left + self.width


def _frame(figure: Figure, panel: Panel, place: _Place) -> None:
    """Paper, the title, and at the right the entry of the runbook that the panel leads to."""
    axes = figure.add_axes((place.left, place.bottom, place.width, place.top - place.bottom))
    axes.set_facecolor(PAPER)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#D8DCE0")
    y = place.top - 0.09 * place.inch
    figure.text(place.left + 0.005, y, panel["title"], size=9.5, weight="bold", color=TEXT, va="top")
    if panel.get("links") and panel["type"] != "stat":
        link = panel["links"][0]["title"]
        figure.text(place.right - 0.004, y, link, size=7, color=COLOURS["blue"], va="top", ha="right")


def _empty(figure: Figure, panel: Panel, place: _Place) -> None:
    words = panel["fieldConfig"]["defaults"]["noValue"]
    middle = (place.top + place.bottom) / 2
    x = (place.left + place.right) / 2
    lines = "\n".join(wrap(words, max(16, round(place.width * 130))))
    figure.text(x, middle, lines, size=10, color=FAINT, ha="center", va="center", style="italic")


def _graph(figure: Figure, panel: Panel, place: _Place, lines: Lines, answers: Mapping[str, Any]) -> None:
    """Lines with their last and highest values below them, and the limits as dashes."""
    if not lines:
        _empty(figure, panel, place)
        return
    lines = sorted(lines, key=_highest, reverse=True)
    defaults = panel["fieldConfig"]["defaults"]
    unit, custom = defaults["unit"], defaults.get("custom", {})
    names = lines[:MOST_NAMES]
    below = (0.22 + 0.13 * (len(names) + (len(lines) > MOST_NAMES)) + 0.1) * place.inch
    left = place.left + 0.034
    height = place.top - 0.3 * place.inch - place.bottom - below
    axes = figure.add_axes((left, place.bottom + below, place.right - left - 0.008, height))
    axes.set_facecolor(PAPER)
    colours = [
        _colour_of(panel, line["name"], colour) for line, colour in zip(lines, cycle(LINES), strict=False)
    ]
    if custom.get("stacking", {}).get("mode") == "normal":
        _stack(axes, lines, colours)
    else:
        for line, colour in zip(lines, colours, strict=True):
            moments, values = _with_gaps(line["points"])
            axes.plot(moments, values, color=colour, linewidth=1.4)
    axes.set_xlim(answers["begin"], answers["end"])
    axes.set_ylim(*_bounds(defaults, lines, axes.get_ylim()[1]))
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            if step["value"] <= axes.get_ylim()[1]:
                axes.axhline(step["value"], color=COLOURS[step["color"]], linestyle="--", linewidth=1.0)
    _axes(axes, unit, answers)
    _legend(figure, panel, place, lines, colours)


def _highest(line: Mapping[str, Any]) -> float:
    return max(float(value) for _, value in line["points"] if math.isfinite(value))


def _stack(axes: Any, lines: Lines, colours: Sequence[str]) -> None:
    moments = sorted({moment for line in lines for moment, _ in line["points"]})
    found = [dict(map(tuple, line["points"])) for line in lines]
    values = [[_finite(each.get(moment, 0.0)) for moment in moments] for each in found]
    axes.stackplot(moments, values, colors=colours, alpha=0.75)


def _bounds(defaults: Mapping[str, Any], lines: Lines, drawn: float) -> tuple[float, float]:
    """From 0, or below it where there is less, to what is drawn; all zeros lie at the bottom of one."""
    values = [value for line in lines for _, value in line["points"] if math.isfinite(value)]
    low = min(0.0, *values)
    return low, defaults.get("max") or (max(drawn, max(values) * 1.1) if max(values) > 0 else 1.0)


def _axes(axes: Any, unit: str, answers: Mapping[str, Any]) -> None:
    _time_axis(axes, answers)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: on_axis(value, unit)))
    axes.tick_params(labelsize=7, colors=FAINT, length=2)
    axes.grid(color="#E9EBED", linewidth=0.7)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#D8DCE0")


def _time_axis(axes: Any, answers: Mapping[str, Any]) -> None:
    """Minutes since the beginning, at round numbers of seconds."""
    begin, end = answers["begin"], answers["end"]
    step = next((each for each in _ROUND_S if (end - begin) / each <= _MOST_TICKS), _ROUND_S[-1])
    moments = [begin + number * step for number in range(int((end - begin) / step) + 1)]
    axes.set_xticks(moments, [short_time(moment - begin) for moment in moments])


def _legend(figure: Figure, panel: Panel, place: _Place, lines: Lines, colours: Sequence[str]) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    columns = place.right - 0.075, place.right - 0.012
    y = place.bottom + (0.13 * (min(len(lines), MOST_NAMES) + (len(lines) > MOST_NAMES)) + 0.04) * place.inch
    step = 0.13 * place.inch
    for column, words in zip(columns, ("last", "max"), strict=True):
        figure.text(column, y + 0.02 * place.inch, words, size=6.5, color=FAINT, ha="right")
    for line, colour in list(zip(lines, colours, strict=True))[:MOST_NAMES]:
        y -= step
        values = [value for _, value in line["points"] if math.isfinite(value)]
        figure.text(place.left + 0.008, y, "▬", size=7.5, color=colour)
        figure.text(place.left + 0.018, y, line["name"], size=7.5, color=TEXT)
        for column, value in zip(columns, (values[-1], max(values)), strict=True):
            figure.text(column, y, in_unit(value, unit), size=7.5, color=TEXT, ha="right")
    if len(lines) > MOST_NAMES:
        more = f"and {len(lines) - MOST_NAMES} more"
        figure.text(place.left + 0.018, y - step, more, size=7.5, color=FAINT, style="italic")


def _number(figure: Figure, panel: Panel, place: _Place, lines: Lines, _: Mapping[str, Any]) -> None:
    """Each series a box in the colour of its value."""
    if not lines:
        _empty(figure, panel, place)
        return
    defaults = panel["fieldConfig"]["defaults"]
    room, bottom = place.width - 0.008, place.bottom + 0.07 * place.inch
    columns = min(len(lines), max(1, round(room * GRID_COLUMNS / 3)))
    rows = math.ceil(len(lines) / columns)
    height = (place.top - 0.3 * place.inch - bottom) / rows
    for number, line in enumerate(lines):
        row, column = divmod(number, columns)
        left = place.left + 0.004 + room * column / columns
        base = bottom + height * (rows - 1 - row)
        axes = figure.add_axes((left, base, room / columns - 0.002, height - 0.03 * place.inch))
        axes.set_axis_off()
        value = line["points"][-1][1]
        text, colour = _shown(defaults, value)
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor=colour, edgecolor="none"))
        named = len(lines) > 1 or line["name"] != panel["title"]
        axes.text(
            0.5,
            0.62 if named else 0.5,
            text,
            size=15 if rows == 1 else 9,
            color=PAPER,
            ha="center",
            va="center",
            weight="bold",
        )
        if named:
            axes.text(0.5, 0.2, line["name"], size=7.5, color=PAPER, ha="center", va="center")


def _timeline(figure: Figure, panel: Panel, place: _Place, lines: Lines, answers: Mapping[str, Any]) -> None:
    """A band for each series, in the colours of its states."""
    if not lines:
        _empty(figure, panel, place)
        return
    defaults = panel["fieldConfig"]["defaults"]
    left, base = place.left + 0.06, place.bottom + 0.42 * place.inch
    axes = figure.add_axes((left, base, place.right - left - 0.008, place.top - 0.3 * place.inch - base))
    axes.set_facecolor("#E3E5E8")
    for number, line in enumerate(reversed(lines)):
        for begin, end, value in _bands(line["points"]):
            axes.barh(number, end - begin, left=begin, height=0.8, color=_shown(defaults, value)[1])
    axes.set_yticks(range(len(lines)), [line["name"] for line in reversed(lines)], size=8, color=TEXT)
    axes.set_xlim(answers["begin"], answers["end"])
    _time_axis(axes, answers)
    axes.tick_params(axis="x", labelsize=7, colors=FAINT, length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    x = place.left + 0.06
    for options in (mapping["options"] for mapping in defaults["mappings"]):
        for state in options.values():
            figure.text(x, place.bottom + 0.1 * place.inch, "■", size=9, color=COLOURS[state["color"]])
            figure.text(x + 0.009, place.bottom + 0.1 * place.inch, state["text"], size=7.5, color=TEXT)
            x += 0.07


def _bands(points: Sequence[Sequence[float]]) -> list[tuple[float, float, float]]:
    """From when to when there was which value, as long as it stayed."""
    bands: list[tuple[float, float, float]] = []
    for moment, value in points:
        if bands and bands[-1][2] == value:
            bands[-1] = (bands[-1][0], moment, value)
        else:
            if bands:
                bands[-1] = (bands[-1][0], moment, bands[-1][2])
            bands.append((moment, moment, value))
    return bands


def _shown(defaults: Mapping[str, Any], value: float) -> tuple[str, str]:
    """The text and the colour of a value: of its state if it has one, else of its limit."""
    for mapping in defaults.get("mappings") or []:
        if (state := mapping["options"].get(f"{value:.0f}")) is not None:
            return state["text"], COLOURS[state["color"]]
    base, *steps = defaults["thresholds"]["steps"]
    reached = [step["color"] for step in steps if value >= step["value"]]
    return in_unit(value, defaults["unit"]), COLOURS[[base["color"], *reached][-1]]


def _colour_of(panel: Panel, name: str, otherwise: str) -> str:
    """What the panel says of the series of this name."""
    for override in panel["fieldConfig"].get("overrides") or []:
        if override["matcher"]["options"] == name:
            return COLOURS[override["properties"][0]["value"]["fixedColor"]]
    return otherwise


def _with_gaps(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Where there is no value the line is broken."""
    steps = [later[0] - earlier[0] for earlier, later in pairwise(points)]
    usual = min(steps, default=0.0) * 1.5
    moments: list[float] = []
    values: list[float] = []
    for moment, value in points:
        if moments and moment - moments[-1] > usual:
            moments.append(moment)
            values.append(math.nan)
        moments.append(moment)
        values.append(value)
    return moments, values


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


_DRAWERS = {"timeseries": _graph, "stat": _number, "state-timeline": _timeline}


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
