"""The scheduler's own clock tests: nights whose clock jumps, missed hours, two schedulers, long jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clocks import SteppedClock
from tests.support.jobs import Counting
from tests.support.schedule import entry, intervals, scheduling
from tests.support.scraping import until_moved
from tests.support.waiting import until
from worker.storage.database import Database

BERLIN = {"time_zone": "Europe/Berlin"}
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(*firings: int) -> list[str]:
    """The intervals of hourly firings of one day."""
    return [f"2026-01-02T{each:02}:00:00Z/PT1H" for each in firings]


@pytest.mark.parametrize("schedulers", [1, 2])
async def test_half_past_two_runs_once_in_the_night_of_23_hours(database: Database, schedulers: int) -> None:
    counting, clock = Counting(), SteppedClock(datetime(2026, 3, 28, 12, tzinfo=UTC))
    nightly = entry(counting, "30 2 * * *", **BERLIN)
    async with scheduling(database, clock, counting, nightly, number=schedulers) as them:
        await them.pass_to(datetime(2026, 3, 30, 12, tzinfo=UTC))
    assert await intervals(database, "succeeded") == [
        "2026-03-29T01:00:00Z/PT1410M",  # 02:30 does not exist: 03:00
        "2026-03-30T00:30:00Z/P1D",
    ]
    assert counting.began_at == [0, 0]
    assert them.misfires("missed") == 0


@pytest.mark.parametrize("schedulers", [1, 2])
async def test_half_past_two_runs_once_in_the_night_of_25_hours(database: Database, schedulers: int) -> None:
    counting, clock = Counting(), SteppedClock(datetime(2026, 10, 24, 12, tzinfo=UTC))
    nightly = entry(counting, "30 2 * * *", **BERLIN)
    async with scheduling(database, clock, counting, nightly, number=schedulers) as them:
        await them.pass_to(datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert await intervals(database, "succeeded") == [
        "2026-10-25T00:30:00Z/PT25H",  # the first of two
        "2026-10-26T01:30:00Z/P1D",
    ]
    assert counting.began_at == [0, 0]
    assert them.misfires("missed") == 0


async def test_a_scheduler_started_between_the_two_runs_it_no_second_time(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(datetime(2026, 10, 25, 0, 10, tzinfo=UTC))
    nightly = entry(counting, "30 2 * * *", **BERLIN)
    async with scheduling(database, clock, counting, nightly) as first:
        await first.pass_to(datetime(2026, 10, 25, 0, 45, tzinfo=UTC))
    async with scheduling(database, clock, counting, nightly) as second:
        await second.pass_to(datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert await intervals(database) == ["2026-10-25T00:30:00Z/PT25H"]


@pytest.mark.parametrize(
    ("misfire", "run", "missed"),
    [("once", hours(1, 4), 2), ("skip", hours(1), 3), ("all", hours(1, 2, 3, 4), 0)],
)
async def test_missed_hours_are_made_up_for_as_the_policy_says(
    database: Database, misfire: str, run: list[str], missed: int
) -> None:
    """From 1:30 to 4:30 no scheduler runs. A second one that was away, too, adds nothing."""
    counting, clock = Counting(), SteppedClock(MIDNIGHT)
    hourly = entry(counting, "0 * * * *", misfire=misfire)
    async with scheduling(database, clock, counting, hourly) as before:
        await before.pass_to(MIDNIGHT + 1.5 * HOUR)
    clock.move_to(MIDNIGHT + 4.5 * HOUR)
    async with scheduling(database, clock, counting, hourly, number=2) as after:
        await after.settle()
        assert await intervals(database, "succeeded") == run
        assert after.misfires("missed") == missed
        await after.pass_to(MIDNIGHT + 5.5 * HOUR)
    assert await intervals(database, "succeeded") == [*run, *hours(5)]
    assert (before.runs("succeeded"), after.runs("succeeded")) == (1, len(run))


async def test_a_firing_that_was_dropped_is_seen_by_a_scrape(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(MIDNIGHT)
    hourly = entry(counting, "0 * * * *", misfire="skip")
    async with scheduling(database, clock, counting, hourly) as before:
        await before.pass_to(MIDNIGHT + 1.5 * HOUR)
    clock.move_to(MIDNIGHT + 4.5 * HOUR)
    async with scheduling(database, clock, counting, hourly) as after:
        await after.settle()
        [follower] = after.followers
        await until_moved(follower.runner.parts.metrics, "scheduled_job_misfires_total")


async def test_what_nobody_ever_saw_has_missed_nothing(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(MIDNIGHT + 1.5 * HOUR)
    async with scheduling(database, clock, counting, entry(counting, "0 * * * *")) as them:
        await them.settle()
        assert (await intervals(database), them.misfires("missed")) == ([], 0)
    clock.move_to(MIDNIGHT + 3.5 * HOUR)
    # Another expression begins anew: nothing of it was missed.
    async with scheduling(database, clock, counting, entry(counting, "15 * * * *")) as them:
        await them.settle()
    assert (await intervals(database), them.misfires("missed")) == ([], 0)


@pytest.mark.parametrize(
    ("overlap", "run", "overlapped"), [("skip", hours(1, 5), 3), ("wait", hours(1, 4, 5), 2)]
)
async def test_a_job_longer_than_its_interval_never_runs_beside_itself(
    database: Database, overlap: str, run: list[str], overlapped: int
) -> None:
    """The run of 1:00 takes until 4:30."""
    counting, clock = Counting(stops_at=2), SteppedClock(MIDNIGHT + 0.5 * HOUR)
    hourly = entry(counting, "0 * * * *", overlap=overlap)
    async with scheduling(database, clock, counting, hourly, number=2) as them:
        await them.settle()
        clock.move_to(MIDNIGHT + HOUR)
        await until(counting.stopped.is_set, "the first run is in its middle")
        clock.move_to(MIDNIGHT + 4.5 * HOUR)
        assert await intervals(database) == hours(1)
        counting.go_on.set()
        await them.pass_to(MIDNIGHT + 5.5 * HOUR)
    assert await intervals(database, "succeeded") == run
    assert counting.began_at == [0] * len(run)
    assert (them.misfires("overlap"), them.misfires("missed")) == (overlapped, 0)


async def test_a_scheduler_that_ends_in_the_middle_of_a_run_leaves_it_to_the_next(database: Database) -> None:
    """However long that takes, and whatever is to become of firings that were missed."""
    counting, clock = Counting(stops_at=2), SteppedClock(MIDNIGHT + 0.5 * HOUR)
    hourly = entry(counting, "0 * * * *", misfire="skip")
    async with scheduling(database, clock, counting, hourly) as first:
        await first.settle()
        clock.move_to(MIDNIGHT + HOUR)
        await until(counting.stopped.is_set, "the run is in its middle")
    assert await intervals(database, "stopped") == hours(1)
    counting.go_on.set()
    clock.move_to(MIDNIGHT + 3.5 * HOUR)
    async with scheduling(database, clock, counting, hourly) as second:
        await second.settle()
    assert await intervals(database, "succeeded") == hours(1)
    assert counting.began_at == [0, 2]  # from its checkpoint
    assert second.misfires("missed") + second.misfires("overlap") == 2


async def test_a_job_that_fails_has_failed_for_its_firing_and_runs_at_the_next(database: Database) -> None:
    counting, clock = Counting(stops_at=1, error=ValueError("no")), SteppedClock(MIDNIGHT + 0.5 * HOUR)
    async with scheduling(database, clock, counting, entry(counting, "0 * * * *")) as them:
        await them.pass_to(MIDNIGHT + 1.5 * HOUR)
        assert (await intervals(database, "failed"), counting.began_at) == (hours(1), [0])
        counting.error, counting.stops_at = None, None
        await them.pass_to(MIDNIGHT + 2.5 * HOUR)
    assert await intervals(database, "succeeded") == hours(2)
    assert (them.runs("failed"), them.runs("succeeded")) == (1, 1)


async def test_a_job_that_finds_something_wrong_is_counted_apart(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(MIDNIGHT + 0.5 * HOUR)
    hourly = entry(counting, "0 * * * *")
    finding = replace(hourly, job=replace(hourly.job, differs=lambda outcome: outcome["reached"] == 5))
    async with scheduling(database, clock, counting, finding) as them:
        await them.pass_to(MIDNIGHT + 1.5 * HOUR)
    assert (them.runs("difference"), them.runs("succeeded")) == (1, 0)
    assert await intervals(database, "succeeded") == hours(1)
