"""Which of the firings that are due is started: every policy against every way to be late."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.jobs import Counting
from worker.jobs.schedule.entry import read_schedule
from worker.jobs.schedule.plan import Decision, decide
from worker.storage.schedule_positions import Position

DAY = datetime(2026, 1, 2, tzinfo=UTC)
HOURLY = {"job": "count", "cron": "0 * * * *"}


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


def decided(
    due: Sequence[float], now: float, busy: tuple[float, float] | None = None, **policies: Any
) -> Decision:
    """For an entry that was handled up to midnight, and was busy between two hours."""
    (entry,) = read_schedule([("hourly", {**HOURLY, **policies})], (Counting().job,)).entries
    position = Position(at(0), *(map(at, busy) if busy else (None, None)))
    return decide(entry, position, [at(each) for each in due], at(now), late_after=timedelta(minutes=1))


def _decision(
    start: float | None, missed: int = 0, overlapped: int = 0, until: float | None = None
) -> Decision:
    return Decision(
        None if start is None else at(start), missed, overlapped, None if until is None else at(until)
    )


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
def test_what_comes_in_time_is_started(misfire: str) -> None:
    assert decided([1], 1.01, misfire=misfire) == _decision(1)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ({"misfire": "once"}, _decision(5, missed=4, until=4)),
        ({"misfire": "skip"}, _decision(None, missed=5, until=5)),
        ({"misfire": "all"}, _decision(1)),
        ({"misfire": "all", "misfire_limit": 2}, _decision(4, missed=3, until=3)),
    ],
)
def test_a_scheduler_that_was_away_for_hours_makes_up_as_the_policy_says(
    policies: dict[str, Any], expected: Decision
) -> None:
    assert decided([1, 2, 3, 4, 5], 5.5, **policies) == expected


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("once", _decision(3, missed=2, until=2)),  # it stands for those before it, too
        ("skip", _decision(3, missed=2, until=2)),
        ("all", _decision(1)),
    ],
)
def test_back_in_time_for_the_next_firing(misfire: str, expected: Decision) -> None:
    assert decided([1, 2, 3], 3.01, misfire=misfire) == expected


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
def test_what_came_during_a_run_is_dropped_or_the_newest_waits(misfire: str) -> None:
    """From 0:30 to 3:30 a run went on: that is no misfire, whatever the policy for those."""
    assert decided([1, 2, 3], 3.5, busy=(0.5, 3.5), misfire=misfire, overlap="skip") == _decision(
        None, overlapped=3, until=3
    )
    assert decided([1, 2, 3], 3.5, busy=(0.5, 3.5), misfire=misfire, overlap="wait") == _decision(
        3, overlapped=2, until=2
    )


def test_a_run_that_makes_up_lets_the_others_make_up_too() -> None:
    """Away until 3:30, the firing of 1:00 was made up for until 4:30: 2:00 and 3:00 follow, 4:00 overlapped."""
    policies = {"misfire": "all", "overlap": "skip"}
    assert decided([2, 3, 4], 4.5, busy=(3.5, 4.5), **policies) == _decision(2)
    assert decided([4], 4.5, busy=(3.5, 4.5), **policies) == _decision(None, overlapped=1, until=4)


def test_an_on_time_firing_follows_what_overlapped() -> None:
    assert decided([1, 2], 2.01, busy=(0.5, 1.5), overlap="skip") == _decision(2, overlapped=1, until=1)
    assert decided([1, 2], 2.01, busy=(0.5, 1.5), overlap="wait") == _decision(1)


def test_nothing_due_is_nothing_to_do() -> None:
    assert decided([], 0.5) == _decision(None)
