"""A worker says that it lives, and with which roles: while it does, and no longer."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.failpoints import failing
from tests.support.running import RunningRole, run
from tests.support.waiting import until
from worker.app import presence
from worker.app.presence import Presence, running_as
from worker.settings.role import RoleSettings
from worker.storage.database import Database
from worker.storage.workers import known_workers, say_alive
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

UNAUTHORIZED, NOT_PRIMARY = 13, 10107
SETTINGS = RoleSettings(revision="abc1234")


def role(database: Database, owner: str = "pod:7:aa") -> Presence:
    clock = SystemClock()
    running = running_as(SETTINGS, owner, ["ingest", "canary"])
    return Presence(database, running, clock, Health(clock).component(Presence.name))


async def test_its_document_is_there_while_it_runs_and_goes_with_it(database: Database) -> None:
    async with run(role(database), lambda task, stop: RunningRole(Metrics(), task, stop)) as running:
        await running.until(lambda: database.workers.count_documents({}), "it says that it lives")
        (seen,), unreadable = await known_workers(database)

        assert unreadable == []
        assert seen.lives
        assert (seen.worker.id, seen.worker.roles) == ("pod:7:aa", ["ingest", "canary"])
        assert (seen.worker.version, seen.worker.revision) == (SETTINGS.release, "abc1234")
        assert seen.worker.started_at <= seen.worker.seen_at
    assert await known_workers(database) == ([], [])


async def test_it_is_seen_again_and_again_and_began_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SEEN_EVERY_S", 0.05)
    async with run(role(database), lambda task, stop: RunningRole(Metrics(), task, stop)) as running:
        await running.until(lambda: database.workers.count_documents({}), "it says that it lives")
        (first,), _ = await known_workers(database)

        async def seen_later() -> bool:
            (now,), _ = await known_workers(database)
            return now.worker.seen_at > first.worker.seen_at

        await running.until(seen_later, "it says so again")
        (later,), _ = await known_workers(database)
    assert later.worker.started_at == first.worker.started_at


async def test_whatever_mongodb_answers_it_goes_on(
    watched: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SEEN_EVERY_S", 0.05)
    with capture_logs() as logs:
        async with failing(watched, ["update"], code=UNAUTHORIZED, times=3) as entered:
            async with run(role(watched), lambda task, stop: RunningRole(Metrics(), task, stop)) as running:
                await running.until(lambda: database.workers.count_documents({}), "it says that it lives")
            assert await entered() == 3
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["presence_not_written"]


async def test_one_that_was_killed_stays_for_a_while_and_does_not_live(database: Database) -> None:
    await say_alive(database, running_as(SETTINGS, "pod:7:aa", ["ingest"]))
    await say_alive(database, running_as(SETTINGS, "pod:8:bb", ["counts"]))
    long_ago = [{"$set": {"seen_at": {"$subtract": ["$seen_at", 60_000]}}}]
    await database.workers.update_one({"_id": "pod:7:aa"}, long_ago)
    seen, _ = await known_workers(database)

    assert [(each.worker.id, each.lives) for each in seen] == [("pod:7:aa", False), ("pod:8:bb", True)]
    assert seen[0].silent >= timedelta(seconds=60)


async def test_a_stop_does_not_wait_for_the_next_time(database: Database) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(role(database).run(stop))
    await until(lambda: database.workers.count_documents({}), "it says that it lives")
    stop.set()
    async with asyncio.timeout(5):
        await task
