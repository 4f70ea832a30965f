"""The whole scheduler: entries that come and go, that are wrong, and a MongoDB that is away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import SteppedClock
from tests.support.jobs import CountArguments, Counting, runner
from tests.support.schedule import intervals, passing, scheduler
from tests.support.scraping import until_moved
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.jobs.schedule.sources import KEY_PREFIX, Written
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.telemetry.metrics import Metrics

MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
HOURLY = {"job": "count", "cron": "0 * * * *"}
LAST_SUCCESS = "scheduled_job_last_success_timestamp_seconds"


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"sevenp_worker_{name}", labels) or 0


def succeeded(metrics: Metrics) -> float:
    return value(metrics, "scheduled_job_runs_total", job="count", outcome="succeeded")


async def put(database: Database, name: str, entry: Any, environment: str = "production") -> None:
    """As an operator's tool writes it."""
    named = {"key": KEY_PREFIX + name, "environment": environment}
    await database.system_settings.replace_one(named, {**named, "value": entry}, upsert=True)


async def test_entries_in_the_database_run_and_a_wrong_one_costs_only_itself(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(MIDNIGHT + timedelta(minutes=50))
    await put(database, "hourly", HOURLY)
    await put(database, "wrong", {**HOURLY, "cron": "60 * * * *"})
    await put(database, "elsewhere", {**HOURLY, "arguments": {"to": 9}}, "staging")
    foreign = {"key": KEY_PREFIX[:-1] + "r", "environment": "production", "value": 7}
    await database.system_settings.insert_one(foreign)
    async with scheduler(database, clock, counting) as metrics:
        await passing(clock, lambda: succeeded(metrics), "a run")
        assert value(metrics, "scheduled_entries", state="running") == 1
        assert value(metrics, "scheduled_entries", state="refused") == 1
        # Without any time that passes: the end of a run is not waited for.
        await until(lambda: value(metrics, LAST_SUCCESS, job="count"), "its end is seen")
        await until_moved(
            metrics,
            "scheduled_entries",
            "scheduled_job_runs_total",
            "scheduled_job_interval_seconds",
            "scheduled_job_last_success_timestamp_seconds",
        )
    assert await intervals(database, "succeeded") == ["2026-01-02T01:00:00Z/PT1H"]
    assert counting.counted == [0, 1, 2, 3, 4]


async def test_entries_come_change_and_go_while_it_runs(database: Database) -> None:
    counting, clock = Counting(), SteppedClock(MIDNIGHT + timedelta(minutes=1))
    async with scheduler(database, clock, counting) as metrics:
        await put(database, "hourly", HOURLY)
        await passing(clock, lambda: value(metrics, "scheduled_entries", state="running") == 1, "it is read")
        await put(database, "hourly", {**HOURLY, "cron": "30 0 * * *"})
        await passing(clock, lambda: intervals(database, "succeeded"), "the changed one fires", step_s=20.0)
        await database.system_settings.delete_many({})
        await passing(clock, lambda: value(metrics, "scheduled_entries", state="running") == 0, "it is gone")
        await passing(clock, lambda: clock.now() > MIDNIGHT + timedelta(hours=3), "hours pass", step_s=60.0)
    assert await intervals(database) == ["2026-01-02T00:30:00Z/P1D"]


async def test_a_removed_entry_lets_its_run_come_to_its_end(database: Database) -> None:
    counting, clock = Counting(stops_at=2), SteppedClock(MIDNIGHT + timedelta(minutes=59))
    await put(database, "hourly", HOURLY)
    async with scheduler(database, clock, counting) as metrics:
        await passing(clock, counting.stopped.is_set, "the run is in its middle")
        await database.system_settings.delete_many({})
        await passing(clock, lambda: value(metrics, "scheduled_entries", state="running") == 0, "it is gone")
        counting.go_on.set()
        await passing(clock, lambda: intervals(database, "succeeded"), "the run comes to its end")


async def test_told_to_stop_it_stops_a_run_at_its_checkpoint(database: Database) -> None:
    counting, clock = Counting(stops_at=2), SteppedClock(MIDNIGHT + timedelta(minutes=59))
    await put(database, "hourly", HOURLY)
    async with scheduler(database, clock, counting):
        await passing(clock, counting.stopped.is_set, "the run is in its middle")
    stopped = await database.job_runs.find_one({"status": "stopped"})
    assert stopped is not None
    assert (stopped["checkpoint"], stopped["who"]) == ({"next": 2}, "schedule hourly")


async def test_a_success_of_anybody_is_shown_with_its_time(database: Database) -> None:
    await runner(database).run(Counting().job, CountArguments())
    ended = await database.job_runs.find_one({"status": "succeeded"})
    assert ended is not None
    await put(database, "hourly", HOURLY)
    async with scheduler(database, SteppedClock(MIDNIGHT), Counting()) as metrics:
        name = "scheduled_job_last_success_timestamp_seconds"
        await until(
            lambda: value(metrics, name, job="count") == ended["finished_at"].timestamp(), "it is shown"
        )


async def test_how_often_a_job_is_to_run_is_shown_while_it_stands_in_the_schedule(database: Database) -> None:
    clock, name = SteppedClock(MIDNIGHT), "sevenp_worker_scheduled_job_interval_seconds"
    await put(database, "daily", {**HOURLY, "cron": "30 2 * * *", "arguments": {"to": 9}})
    await put(database, "hourly", HOURLY)
    async with scheduler(database, clock, Counting()) as metrics:

        def shown() -> float | None:
            return metrics.registry.get_sample_value(name, {"job": "count"})

        await until(lambda: shown() == 3600, "the shorter interval is shown")
        await until_moved(metrics, "scheduled_job_interval_seconds")
        await database.system_settings.delete_one({"key": f"{KEY_PREFIX}hourly"})
        await passing(clock, lambda: shown() == 24 * 3600, "the longer one is left")
        await database.system_settings.delete_many({})
        await passing(clock, lambda: shown() is None, "it is shown no more")


@pytest.mark.slow
async def test_mongodb_away_at_the_moment_of_firing_delays_it(tmp_path: Path) -> None:
    """Once, when it is back: the firing was missed, and the policy makes up for it; entries come from elsewhere."""
    counting, clock = Counting(), SteppedClock(MIDNIGHT + timedelta(minutes=50))
    mongod = await start_mongod(tmp_path)
    client = make_client(mongod.uri, server_selection_timeout_ms=200)
    database = open_database(client, "away")

    async def source() -> Written:
        return [("hourly", HOURLY)]

    try:
        await apply_schema(database)
        async with scheduler(database, clock, counting, source) as metrics:
            await until(lambda: database.schedule_positions.count_documents({}), "the entry is followed")
            mongod.stop()
            await passing(
                clock, lambda: clock.now() > MIDNIGHT + timedelta(hours=2.5), "hours pass", step_s=60.0
            )
            assert counting.began_at == []
            mongod = await start_mongod(tmp_path, port=mongod.port)
            await passing(clock, lambda: succeeded(metrics), "it runs", step_s=0.2)
        assert await intervals(database) == ["2026-01-02T02:00:00Z/PT1H"]
        assert value(metrics, "scheduled_job_misfires_total", job="count", reason="missed") == 1
        assert counting.began_at == [0]
    finally:
        await close(client)
        mongod.stop()
