"""The capacity report of a store that is known: its figures are those of the server, and of what was planted."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.support.commands import sevenp_worker
from tests.support.doctor import Doctor
from worker.app.exits import ExitCode
from worker.operate.capacity.forecast import Rate
from worker.operate.capacity.measure import measure, rows_between
from worker.operate.capacity.oplog import Oplog
from worker.storage.database import Database
from worker.timing import SystemClock

EVENTS = 240


class At(SystemClock):
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
async def planted(database: Database) -> Database:
    """One event every six minutes of the last 24 hours, with its row; older rows, and some that lie ahead."""
    text = "x" * 500
    events = [{"_id": ObjectId(), "stream_id": f"s-{n}", "version": 1, "text": text} for n in range(EVENTS)]
    await database.course_events.insert_many(events, bypass_document_validation=True)
    times = [NOW - timedelta(hours=24) + timedelta(minutes=6 * n) for n in range(EVENTS)]
    times += [NOW - timedelta(days=30 + n) for n in range(100)]
    times += [NOW + timedelta(minutes=n) for n in range(10)]
    rows = [{"timestamp": at, "metadata": {"user_id": ObjectId()}} for at in times]
    await database.user_interactions.insert_many(rows)
    await database.client.admin.command("fsync")  # sizes on the disk are those of the last checkpoint
    return database


async def test_events_per_day_and_bytes_per_event_are_those_of_the_store(planted: Database) -> None:
    measured = await measure(planted, At(NOW))
    assert measured.events == EVENTS
    assert measured.rate == Rate(EVENTS, timedelta(hours=24))
    growth = measured.growth
    assert growth.per_day == EVENTS
    stats = await planted.content.command({"collStats": "course_events"})
    [events] = [each for each in measured.collections if each.name == "course_events"]
    assert events.documents == stats["count"]
    assert events.data_bytes == stats["size"]
    assert dict(events.indexes) == stats["indexSizes"]
    assert growth.bytes_per_event(events) == (stats["storageSize"] + stats["totalIndexSize"]) / EVENTS
    series = await planted.analytics.command({"collStats": "user_interactions"})
    [rows] = [each for each in measured.collections if each.name == "user_interactions"]
    assert rows.storage_bytes == series["storageSize"]
    assert growth.bytes_per_day == pytest.approx(growth.bytes_of_an_event * EVENTS)
    assert isinstance(measured.oplog, Oplog)
    assert measured.oplog.hours > 0
    assert measured.free_bytes is not None
    assert {each.name for each in measured.databases} == {
        f"{planted.prefix}_{name}" for name in ("content", "analytics", "config")
    }


async def test_rows_are_counted_by_their_time_and_not_by_a_scan(planted: Database) -> None:
    asked = {
        "aggregate": "user_interactions",
        "pipeline": rows_between(NOW - timedelta(days=1), NOW),
        "cursor": {},
    }
    plan = str(await planted.analytics.command({"explain": asked, "verbosity": "queryPlanner"}))
    assert "CLUSTERED_IXSCAN" in plan
    assert "'COLLSCAN'" not in plan


async def test_a_store_in_which_nothing_happened_foretells_nothing(database: Database) -> None:
    measured = await measure(database, SystemClock())
    assert measured.rate == "no event happened within 7 days"
    assert measured.growth.bytes_per_day == 0


async def test_rows_that_expire_are_known_to(planted: Database) -> None:
    await planted.analytics.command({"collMod": "user_interactions", "expireAfterSeconds": 90 * 86_400})
    assert (await measure(planted, At(NOW))).kept_days == 90


@pytest.mark.slow
async def test_the_command_shows_it_to_people_and_scripts(doctor: Doctor) -> None:
    now = datetime.now(UTC)
    rows = [{"timestamp": now - timedelta(minutes=n), "metadata": {"user_id": ObjectId()}} for n in range(60)]
    await doctor.database.user_interactions.insert_many(rows)
    events = [{"_id": ObjectId(), "stream_id": f"s-{n}", "version": 1} for n in range(60)]
    await doctor.database.course_events.insert_many(events, bypass_document_validation=True)
    shown = await sevenp_worker(doctor.given, "capacity", "--disk", "1G")
    assert shown.code == ExitCode.OK, shown.output
    for part in (
        "bytes per event",
        "oplog",
        "idx_course_events_stream_version_unique",
        "in 365 days",
        "full",
    ):
        assert part in shown.output
    told = await sevenp_worker(doctor.given, "capacity", "--json", "--disk", "1G")
    report = json.loads(told.output)
    assert report["events"] == 60
    assert report["events_per_day"] == pytest.approx(60 * 24, rel=0.1)
    forecast = report["forecast"]
    assert forecast["free_bytes"] == 2**30 - forecast["bytes_now"]
    assert forecast["bytes_in_30_days"] == pytest.approx(forecast["bytes_now"] + 30 * report["bytes_per_day"])
    assert forecast["days_until_full"] == pytest.approx(forecast["free_bytes"] / report["bytes_per_day"])
