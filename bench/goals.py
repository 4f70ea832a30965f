"""The goals as data, and what became of each: met, missed and why, or not measured and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.figures import Figure, shown

Direction = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise: `what` is measured and where it has to be."""

    key: str
    what: str
    direction: Direction
    value: float
    unit: str = ""

    @property
    def wanted(self) -> str:
        """As people read it."""
        sign = "≥" if self.direction == "at least" else "≤"
        return f"{sign} {self.value:,g} {self.unit}".rstrip()

    def met_by(self, measured: float) -> bool:
        """True where this is where it has to be."""
        return measured >= self.value if self.direction == "at least" else measured <= self.value


GOALS: Sequence[Goal] = (
    Goal("many_spec", "all roles, many learners, against the spec's own loop", "at least", 1.0),
    Goal("many_present_spec", "the same with course and user documents present", "at least", 1.0),
    Goal("many_ingest", "all roles, many learners, against ingest alone with as many", "at least", 0.35),
    Goal("many_present_ingest", "the same with course and user documents present", "at least", 0.35),
    Goal("everything", "all roles, 2,000 learners, against ingest alone", "at least", 0.60),
    Goal("bare", "ingest against the bare loop, which skips all checks", "at least", 1.6),
    Goal("faststream", "ingest against FastStream, which skips all checks", "at least", 1.6),
    Goal("equal", "ingest against the equal loop", "at least", 1.8),
    Goal("connector", "ingest against the MongoDB connector filling both collections", "at least", 1.3),
    Goal(
        "connector_cpu",
        "CPU of worker and mongod per ingested event against the MongoDB connector's",
        "at most",
        0.80,
    ),
    Goal("limit", "ingest against the limit", "at least", 0.80),
    Goal(
        "growth", "throughput kept at 3,000,000 stored events, against what the limit keeps", "at least", 0.95
    ),
    Goal("latency", "p99 published to visible at 1,000 events/s", "at most", 250, "ms"),
    Goal("p50_busy", "p50 published to visible at 70 % of the maximum", "at most", 500, "ms"),
    Goal("p99_busy", "p99 published to visible at 70 % of the maximum", "at most", 1_500, "ms"),
    Goal("ingest_cpu", "worker CPU per ingested event, 2,000 learners", "at most", 50, "µs"),
    Goal("projected_cpu", "worker CPU per projected event, 2,000 learners", "at most", 60, "µs"),
    Goal("memory", "peak memory of an all-roles process", "at most", 256, "MiB"),
    Goal(
        "refold", "re-fold of all streams after a raised projection version", "at least", 20_000, "events/s"
    ),
    Goal("stamping", "ingest, 200 courses of 300 lessons known, against none known", "at least", 0.95),
    Goal("curricula", "all roles, many learners, curricula of 66 lessons, against none", "at least", 0.95),
    Goal("before", "the same against the last commit without curricula", "at least", 0.95),
)
"""Those of time and CPU are for the faster of two machines; docs/benchmarks says what they are on the slower one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for a goal. `limits` says, from the same measurement, what keeps it from being better."""

    figure: Figure
    limits: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result; `measured` and `met` are None where it was not measured."""

    goal: Goal
    measured: Figure | None
    met: bool | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.goal.key,
            "goal": f"{self.goal.what} {self.goal.wanted}",
            "measured": None if self.measured is None else float(f"{self.measured.median:.3g}"),
            "spread": None
            if self.measured is None
            else [float(f"{value:.3g}") for value in (self.measured.low, self.measured.high)],
            "met": self.met,
            "reason": self.reason,
        }

    def as_cells(self) -> tuple[str, str, str, str, str]:
        """Goal, wanted, measured with spread, met, reason."""
        if self.measured is None:
            return self.goal.what, self.goal.wanted, "", "not measured", self.reason
        measured = f"{shown(self.measured.median)} ({self.measured.spread})"
        return self.goal.what, self.goal.wanted, measured, "yes" if self.met else "no", self.reason


def check_goals(found: Mapping[str, Measured], missing: Mapping[str, str]) -> list[Row]:
    """All goals in their order. `missing` says by key why something was not measured.

    KeyError for a goal that is in neither: a measurement that was forgotten must not look like a choice.
    """
    rows = []
    for goal in GOALS:
        measured = found.get(goal.key)
        if measured is None:
            rows.append(Row(goal, None, None, missing[goal.key]))
            continue
        met = goal.met_by(measured.figure.median)
        rows.append(Row(goal, measured.figure, met, "" if met else measured.limits))
    return rows
