"""A process follows what operators say within seconds, and goes on by what it read last while MongoDB is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from projections.catalogue import CATALOGUE
from tests.support.running import RunningRole, run
from tests.support.settings import changed
from worker.devstack.servers.mongod import start_mongod
from worker.gate import OPEN, Gate
from worker.operate.control.role import ControlReader
from worker.operate.control.targets import Known
from worker.settings import ControlSettings
from worker.storage.control_documents import KEY_PREFIX, put_control, remove_control
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

KNOWN = Known(frozenset({"t"}), frozenset(CATALOGUE.names))
SAID = {"who": "anna@ops", "reason": "why not"}
QUICK = changed(ControlSettings(), look_every_s=0.05)
STREAM = "course_5f1d7f3e9d1c4b0001a0c001_user_5f1d7f3e9d1c4b00010000aa"


@dataclass(slots=True)
class RunningReader(RunningRole):
    """A reader in this process, and what it has turned."""

    role: ControlReader
    gate: Gate
    health: Health
    levels: list[str | None]


@contextlib.asynccontextmanager
async def reading(database: Database, settings: ControlSettings = QUICK) -> AsyncIterator[RunningReader]:
    clock, metrics, gate, levels = SystemClock(), Metrics(), Gate(), list[str | None]()
    health = Health(clock, metrics)
    parts = database, settings, KNOWN, gate, clock, metrics, health
    role = ControlReader(*parts, set_log_level=levels.append)

    def made(task: "asyncio.Task[None]", stop: asyncio.Event) -> RunningReader:
        return RunningReader(metrics, task, stop, role, gate, health, levels)

    async with run(role, made) as started:
        yield started


async def put(database: Database, name: str, value: Any = None, **options: Any) -> None:
    await put_control(database, "production", name, {**SAID, **(value or {})}, **options)


async def test_what_is_said_is_followed_and_so_is_its_end(database: Database) -> None:
    async with reading(database) as reader:
        with capture_logs() as logs:
            await put(database, "pause.role.ingest")
            await put(database, "pause.partition.t.3")
            reader.gate.hold(("elsewhere", 0))
            await put(database, f"pause.stream.{STREAM}")
            await put(database, "set.notify_per_s", {"value": 7})
            await put(database, "set.log_level", {"value": "debug"})
            await put_control(database, "staging", "pause.role.retry", SAID)
            await reader.until(
                lambda: reader.gate.switches.rates == {"notify_per_s": 7.0}, "the limit is read"
            )
            await reader.until(lambda: reader.levels == ["debug"], "the level is set")
            assert reader.gate.switches.roles == {"ingest"}
            assert reader.gate.switches.partitions == {("t", 3)}
            assert reader.health.paused == ("partition t/3", "role ingest", "streams: 1")
            told = {
                each: reader.value("paused", what=each) for each in ("ingest", "retry", "partition", "stream")
            }
            assert told == {"ingest": 1, "retry": 0, "partition": 1, "stream": 1}
            assert reader.value("control_last_read_timestamp_seconds") > 0
            for name in (
                "pause.role.ingest",
                "pause.partition.t.3",
                f"pause.stream.{STREAM}",
                "set.log_level",
            ):
                await remove_control(database, "production", name)
            await remove_control(database, "production", "set.notify_per_s")
            await reader.until(lambda: reader.gate.switches == OPEN, "all is resumed")
            assert reader.gate.held("ingest", [("t", 3), ("elsewhere", 0)]) == frozenset()
            await reader.until(lambda: reader.levels == ["debug", None], "the level is that of the settings")
            assert len(reader.health.paused) == 0
            assert reader.value("paused", what="ingest") == 0
    paused = [each["what"] for each in logs if each["event"] == "paused"]
    assert sorted(paused) == ["partition t/3", "role ingest", f"stream {STREAM}"]
    assert sorted(each["what"] for each in logs if each["event"] == "resumed") == sorted(paused)


async def test_a_pause_ends_by_itself(database: Database) -> None:
    async with reading(database) as reader:
        await put(database, "pause.role.ingest", until=1.0)
        await reader.until(lambda: reader.gate.pauses("ingest"), "it is paused")
        await reader.until(lambda: not reader.gate.pauses("ingest"), "it has ended")
        assert await database.system_settings.count_documents({}) == 1


async def test_documents_that_make_no_sense_are_named_once_and_change_nothing(database: Database) -> None:
    odd = {"key": KEY_PREFIX + "pause.role.cook", "environment": "production", "value": True}
    await database.system_settings.insert_one(odd)
    with capture_logs() as logs:
        async with reading(database) as reader:
            await put(database, "pause.role.notify")
            await reader.until(lambda: reader.gate.pauses("notify"), "the other one is read")
            assert reader.value("control_ignored_settings") == 1
            await reader.until_moved(
                "paused", "control_ignored_settings", "control_last_read_timestamp_seconds"
            )
            await database.system_settings.update_one({"_id": odd["_id"]}, {"$set": {"value": "odd"}})
            await reader.lives_on("control", 0.5)
    [named] = [each for each in logs if each["event"] == "system_setting_ignored"]
    assert (named["key"], "no role 'cook'" in named["reason"]) == (KEY_PREFIX + "pause.role.cook", True)


async def test_what_comes_in_thousands_is_a_line_with_a_number_and_the_first_of_them(
    database: Database,
) -> None:
    streams = [f"course_{number:024x}_user_{number:024x}" for number in range(1, 31)]
    names = [f"pause.stream.{each}" for each in streams]
    names += [f"pause.role.cook-{number:02}" for number in range(25)]
    names += [f"pause.partition.t.{number}" for number in range(22)]
    found = [{"key": KEY_PREFIX + each, "environment": "production", "value": True} for each in names]
    with capture_logs() as logs:
        async with reading(database) as reader:
            await put(database, "pause.role.notify")
            await reader.until(lambda: reader.gate.pauses("notify"), "it is read")
            await database.system_settings.insert_many(found)
            await reader.until(lambda: len(reader.gate.switches.streams) == 30, "all are read")
            assert reader.value("control_ignored_settings") == 25
            assert reader.value("paused", what="stream") == 30
            assert len(reader.health.paused) == 20 + 2
            assert reader.health.paused[20:] == ("and 3 more", "streams: 30")
            await database.system_settings.delete_many({"key": {"$ne": KEY_PREFIX + "pause.role.notify"}})
            await reader.until(lambda: reader.value("control_ignored_settings") == 0, "all are gone")
    told = [each for each in logs if each["event"] not in ("paused", "ignored")]
    assert [each["event"] for each in told] == ["system_settings_ignored", "many_paused", "many_resumed"]
    assert [each["number"] for each in told] == [25, 52, 52]
    assert [len(each["first"]) for each in told] == [20, 20, 20]
    assert [each["what"] for each in logs if each["event"] == "paused"] == ["role notify"]


@pytest.mark.slow
async def test_while_mongodb_is_away_what_was_read_last_holds_and_ends_in_time(tmp_path: Path) -> None:
    mongod = await start_mongod(tmp_path)
    client = make_client(mongod.uri, server_selection_timeout_ms=200)
    database = open_database(client, "control")
    try:
        await put(database, "pause.role.progress")
        await put(database, "pause.role.counts", until=3.0)
        async with reading(database) as reader:
            await reader.until(
                lambda: reader.gate.switches.roles == {"progress", "counts"}, "both are paused"
            )
            read_at = reader.value("control_last_read_timestamp_seconds")
            await asyncio.to_thread(mongod.stop)
            await reader.until(lambda: reader.gate.switches.roles == {"progress"}, "one of them has ended")
            await reader.lives_on("control")
            assert reader.gate.switches.roles == {"progress"}
            assert reader.value("control_last_read_timestamp_seconds") < read_at + 10
    finally:
        await close(client)
        mongod.stop()


async def test_at_the_start_it_is_known_before_anything_begins(database: Database) -> None:
    await put(database, "pause.role.ingest")
    gate, clock, metrics = Gate(), SystemClock(), Metrics()
    parts = database, QUICK, KNOWN, gate, clock, metrics, Health(clock)
    await ControlReader(*parts, set_log_level=lambda _level: None).look_at_start()
    assert gate.pauses("ingest")
