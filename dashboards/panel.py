"""What a dashboard is made of: boards of rows of panels with their queries, as values that know no Grafana."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

# Columns of Grafana's grid; a graph takes a third of them unless it says otherwise.
WIDTH = 24


class Colour(StrEnum):
    """Three that mean something, and one that means nothing."""

    GOOD = "green"
    WATCH = "orange"
    BAD = "red"
    PLAIN = "blue"


class Unit(StrEnum):
    """Grafana's names of the units that are shown."""

    SECONDS = "s"
    BYTES = "bytes"
    COUNT = "short"
    SHARE = "percentunit"
    RECORDS = "suffix: records"
    EVENTS = "suffix: events"
    PER_SECOND = "suffix: /s"
    TIMES = "suffix: times"
    STATE = "none"


class Kind(StrEnum):
    """How a panel is drawn: lines over time, one number for each series, or states over time."""

    GRAPH = "timeseries"
    NUMBER = "stat"
    STATES = "state-timeline"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called: `{{label}}` stands for a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The colours of values: `base` below all steps, and from each step's value on its own."""

    base: Colour
    steps: tuple[tuple[float, Colour], ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What a value is called, and its colour."""

    text: str
    colour: Colour


States = Mapping[int, State]
NO_STATES: States = MappingProxyType({})
ANSWERS: States = MappingProxyType(
    {1: State("answers", Colour.GOOD), 0: State("does not answer", Colour.BAD)}
)
MOVES: States = MappingProxyType({1: State("moves", Colour.GOOD), 0: State("stands still", Colour.BAD)})
FIRES: States = MappingProxyType({1: State("fires", Colour.BAD)})

PLAIN = Limits(Colour.PLAIN)
"""No value is better than another."""
NONE_IS_GOOD = Limits(Colour.GOOD, ((1, Colour.BAD),))
"""Anything but zero is bad."""
SOME_ARE_WATCHED = Limits(Colour.GOOD, ((1, Colour.WATCH),))
"""Anything but zero waits for somebody."""
ONE_IS_ENOUGH = Limits(Colour.BAD, ((1, Colour.GOOD),))
"""None is bad."""


def rising(watch: float, bad: float) -> Limits:
    """The more, the worse."""
    return Limits(Colour.GOOD, ((watch, Colour.WATCH), (bad, Colour.BAD)))


def falling(watch: float, bad: float) -> Limits:
    """The less, the worse."""
    return Limits(Colour.BAD, ((bad, Colour.WATCH), (watch, Colour.GOOD)))


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `description` says what is shown and what that means; `alert` names an entry of the runbook.

    `empty` is shown where there is no series, and says what that means. `colours` are those of series whose names
    mean something.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.GRAPH
    limits: Limits = PLAIN
    states: States = field(default_factory=lambda: NO_STATES)
    colours: Mapping[str, Colour] = field(default_factory=dict)
    alert: str | None = None
    empty: str = "no data: was it ever measured?"
    stacked: bool = False
    most: float | None = None
    width: int = 8
    height: int = 7


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, which is a question or names what is looked at."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `name` is its file's and the end of its uid."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def uid(self) -> str:
        """By what Grafana knows it, also when its title changes."""
        return f"sevenp-worker-{self.name}"


def number(
    title: str,
    description: str,
    unit: Unit,
    expression: str,
    limits: Limits = PLAIN,
    *,
    legend: str = "",
    states: States = NO_STATES,
    alert: str | None = None,
    empty: str = "no data",
    width: int = 4,
    height: int = 4,
) -> Panel:
    """A small panel that says how something stands now."""
    query = Query(expression, legend or title)
    return Panel(
        title,
        description,
        unit,
        (query,),
        Kind.NUMBER,
        limits,
        states,
        alert=alert,
        empty=empty,
        width=width,
        height=height,
    )


def graph(
    title: str,
    description: str,
    unit: Unit,
    *queries: Query,
    limits: Limits = PLAIN,
    colours: Mapping[str, Colour] | None = None,
    alert: str | None = None,
    empty: str = "no data",
    stacked: bool = False,
    most: float | None = None,
    width: int = 8,
) -> Panel:
    """Lines over time."""
    return Panel(
        title,
        description,
        unit,
        queries,
        Kind.GRAPH,
        limits,
        colours=colours or {},
        alert=alert,
        empty=empty,
        stacked=stacked,
        most=most,
        width=width,
    )


def timeline(
    title: str,
    description: str,
    states: States,
    *queries: Query,
    alert: str | None = None,
    empty: str = "no data",
    width: int = 12,
) -> Panel:
    """A band for each series, coloured by its state."""
    return Panel(
        title,
        description,
        Unit.STATE,
        queries,
        Kind.STATES,
        states=states,
        alert=alert,
        empty=empty,
        width=width,
        height=6,
    )
