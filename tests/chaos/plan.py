"""Which points to kill at: every kind of write in the trace, before and after; of the frequent ones a later, too.

Of stages that are much alike a short run has one of these points each.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.chaos.fault_injector import KillPoint, Side
from tests.chaos.stages import OTHER, alike, stage_of
from tests.chaos.trace import Write
from tests.chaos.tracing import Traces

# When a kind of write happens: once on empty databases, in every run, or when a run ends in good order.
When = Literal["once", "always", "stopping"]

_SIDES: tuple[Side, Side] = ("before", "after")
# A later occurrence is this one, of writes that come at least twice as often in a few seconds.
LATER = 4


@dataclass(frozen=True, slots=True)
class Planned:
    """A kind of write of the trace, and how often a run of a few seconds makes it."""

    command: str
    target: str
    when: When
    count: int

    @property
    def stage(self) -> str:
        return stage_of(self)

    def points(self, *, later: bool) -> Sequence[KillPoint]:
        """Both sides of the first occurrence, and of a later one where there are many."""
        occurrences = [1, LATER] if later and self.count >= 2 * LATER and self.when == "always" else [1]
        return [KillPoint(side, self.command, self.target, each) for each in occurrences for side in _SIDES]


@dataclass(frozen=True, slots=True)
class ScheduledPoint:
    """A point, when it comes up, and the stage it belongs to."""

    point: KillPoint
    when: When
    stage: str


def planned(traces: Traces) -> Sequence[Planned]:
    """Every kind of write once, in the order in which they came up first."""
    first, second = _kinds(traces.first), _kinds(traces.second)
    counts = Counter((write.command, write.target) for write in traces.second)
    found = []
    for kind in [*first, *(each for each in second if each not in first)]:
        if kind not in second:
            when: When = "once"
        else:
            when = "always" if kind in first or second[kind].at < traces.stopped_at else "stopping"
        found.append(Planned(*kind, when, counts[kind]))
    return found


def schedule(plans: Iterable[Planned], seed: int, *, whole: bool = False) -> Sequence[ScheduledPoint]:
    """The points: what happens only once comes first and in order, the rest in an order of the seed's.

    Later occurrences are for the stages' own writes: what keeps a role going is the same each time. A stage
    that is `DRAWN` has one point, by the seed, and what every follower does is one follower's; `whole`: all of them.
    """
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    made = [
        ScheduledPoint(point, plan.when, plan.stage)
        for plan in plans
        for point in plan.points(later=plan.stage != OTHER)
    ]
    if not whole:
        made = _drawn(made, random)
    once = [each for each in made if each.when == "once"]
    rest = [each for each in made if each.when != "once"]
    random.shuffle(rest)
    return [*once, *rest]


def _drawn(made: Sequence[ScheduledPoint], random: Random) -> list[ScheduledPoint]:
    """The points in their order; of those that are alike one."""
    groups: dict[object, list[ScheduledPoint]] = defaultdict(list)
    for each in made:
        point = each.point
        group = alike(each.stage, point.command, point.target)
        # Of a stage one point, of what followers do one on each side.
        groups[each if group is None else (group, each.stage == OTHER and point.side)].append(each)
    kept = {random.choice(group) for group in groups.values()}
    return [each for each in made if each in kept]


def shared(all_of_them: Sequence[ScheduledPoint], parts: int) -> Sequence[Sequence[ScheduledPoint]]:
    """Fair shares, each in order; what happens only once is for the first, whose databases are empty."""
    once = [each for each in all_of_them if each.when == "once"]
    rest = all_of_them[len(once) :]
    loads = [len(once), *[0] * (parts - 1)]
    shares: list[list[ScheduledPoint]] = [list(once), *([] for _ in range(parts - 1))]
    for each in rest:
        least = loads.index(min(loads))
        shares[least].append(each)
        loads[least] += 1
    return shares


def early(traces: Traces, plans: Iterable[Planned]) -> Sequence[Planned]:
    """What a run does before it commits an offset for the first time: writes of recovery."""
    kinds = list(_kinds(traces.second))
    commit = kinds.index(("commit", "offsets"))
    return [plan for plan in plans if plan.when == "always" and (plan.command, plan.target) in kinds[:commit]]


def _kinds(trace: Iterable[Write]) -> Mapping[tuple[str, str], Write]:
    """The first write of each kind, in their order."""
    found: dict[tuple[str, str], Write] = {}
    for write in trace:
        found.setdefault((write.command, write.target), write)
    return found
