"""A whole worker, paused by commands: what an orchestrator sees, and what is there in the end."""

import asyncio
import json
import signal
from typing import Any

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, records, send
from tests.support.progress import documents, expected
from tests.support.retry import Run, command_line
from tests.support.waiting import until
from tests.support.worker_process import StartWorker, WorkerProcess, fetch
from worker.app.exits import ExitCode
from worker.storage.database import Database

WHY = "--reason=a test"


@pytest.fixture
def run(settings: dict[str, str]) -> Run:
    """`sevenp-worker control` with the settings of the worker."""
    return command_line(
        "control", **{name.removeprefix("SEVENP_").lower(): settings[name] for name in settings}
    )


async def _ready(worker: WorkerProcess) -> dict[str, Any]:
    status, body = await asyncio.to_thread(fetch, f"{worker.url()}/readyz")
    assert status in (200, 503)
    told: dict[str, Any] = json.loads(body)
    return {**told, "code": status}


async def _sees(worker: WorkerProcess, paused: list[str]) -> None:
    async def seen() -> bool:
        told = await _ready(worker)
        return (told["code"], told["paused"]) == (200, paused)

    await until(seen, f"{paused} are paused")


async def _stop(worker: WorkerProcess) -> None:
    worker.popen.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.exit_code) == ExitCode.OK


async def _folded(database: Database, published: list[dict[str, Any]]) -> bool:
    stored = await database.course_events.count_documents({"event_type": {"$ne": "void"}})
    return stored == len(published) and await documents(database) == await expected(database)


async def _counted(database: Database) -> bool:
    records_ = {row["_id"]: row["rev"] for row in await database.user_progress.find({}).to_list(None)}
    rows = await database.user_progress_projections.find({}).to_list(None)
    return {row["_id"]: row["source_rev"] for row in rows} == records_


@pytest.mark.slow
async def test_paused_by_commands_stopped_and_resumed_it_comes_to_the_same_end(
    database: Database, kafka: str, topic: str, start_worker: StartWorker, run: Run
) -> None:
    published = [event(number % 20) for number in range(900)]
    worker = start_worker()
    await asyncio.to_thread(worker.wait_until_ready)
    await send(kafka, topic, records(published[:300]))
    await until(lambda: _folded(database, published[:300]), "all is folded")

    # A role: events are stored, nothing is folded; alive, ready, and told.
    for words in (["progress"], ["kind", "welcome"]):
        assert (await run("pause", *words, WHY)).exit_code == ExitCode.OK
    await _sees(worker, ["kind welcome", "role progress"])
    before = await documents(database)
    await send(kafka, topic, records(published[300:600]))
    await until(lambda: _stored(database, 600), "events are stored")
    assert await documents(database) == before
    assert (await asyncio.to_thread(fetch, f"{worker.url()}/livez"))[0] == 200
    metrics = (await asyncio.to_thread(fetch, f"{worker.url()}/metrics"))[1]
    assert 'sevenp_worker_paused{what="progress"} 1.0' in metrics

    # Restarted while it is paused; then ingest is paused instead.
    await _stop(worker)
    worker = start_worker()
    await asyncio.to_thread(worker.wait_until_ready)
    await _sees(worker, ["kind welcome", "role progress"])
    assert await documents(database) == before
    assert (await run("pause", "ingest", WHY)).exit_code == ExitCode.OK
    await _sees(worker, ["kind welcome", "role ingest", "role progress"])
    assert (await run("resume", "progress", WHY)).exit_code == ExitCode.OK
    await until(lambda: _folded(database, published[:600]), "what was stored is folded")
    await send(kafka, topic, records(published[600:]))
    await _sees(worker, ["kind welcome", "role ingest"])
    assert await _stored(database, 600)

    # More in the log for a while, which ends by itself.
    assert (await run("set", "log_level", "debug", "--for", "2s", WHY)).exit_code == ExitCode.OK
    await until(lambda: _says(worker, "unset_at_run_time"), "it has ended by itself")
    assert _says(worker, "set_at_run_time")

    assert (await run("resume", "ingest", WHY)).exit_code == ExitCode.OK
    assert (await run("resume", "kind", "welcome", WHY)).exit_code == ExitCode.OK
    await _sees(worker, [])
    await until(lambda: _folded(database, published), "all is folded")
    await until(lambda: _counted(database), "all is counted")
    await _stop(worker)
    await assert_exactly_once(database, published)


async def _stored(database: Database, number: int) -> bool:
    return await database.course_events.count_documents({}) == number


def _says(worker: WorkerProcess, name: str) -> bool:
    return any(each["event"] == name for each in worker.events())
