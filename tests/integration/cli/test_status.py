"""`status`: one look at a running worker, and at what is known when a server is away."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import StackKind
from tests.support.commands import Ended, sevenp_worker
from tests.support.ingest import event, records, send
from tests.support.waiting import LIMIT_S, until
from tests.support.worker_process import StartWorker
from worker import __version__
from worker.app.exits import ExitCode
from worker.app.presence import running_as
from worker.settings.role import RoleSettings
from worker.storage.database import Database
from worker.storage.workers import say_alive

NOBODY = "mongodb://127.0.0.1:1/?replicaSet=rs0"
NO_BROKER = "127.0.0.1:1"


def told(ended: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.output)
    return found


@pytest.mark.slow
async def test_it_tells_who_works_what_they_hold_and_what_waits(
    start_worker: StartWorker,
    settings: dict[str, str],
    database: Database,
    kafka: str,
    topic: str,
    stack: StackKind,
) -> None:
    await send(kafka, topic, records([event(number) for number in range(20)]))
    worker = start_worker()
    worker.wait_until_ready()

    async def works() -> bool:
        """Every event is folded, and each lease has somebody."""
        found = told(await sevenp_worker(settings, "status", "--json"))
        held = {each["watcher"]: sum(each["held_by"].values()) for each in found["leases"]["groups"]}
        done = await database.user_progress.count_documents({}) == 20
        caught_up = [each["records"] for each in found["lag"]] == [0]
        return done and caught_up and held == {"counts": 1, "models": 1, "progress": 16, "retry": 1}

    await until(works, "a worker that holds everything")
    await database.analytics_queue.insert_one(
        {
            "_id": "progress:nobody",
            "event_type": "progress_fold",
            "data": {},
            "status": "failed",
            "retry_count": 3,
            "created_at": datetime.now(UTC) - timedelta(hours=3),
        }
    )
    found = told(await sevenp_worker(settings, "status", "--json"))
    (one,) = found["workers"]
    assert one["roles"] == ["ingest", "progress", "counts", "notify", "retry"]
    assert (one["pid"], one["version"], one["lives"]) == (worker.popen.pid, __version__, True)
    assert found["missing_roles"] == []
    assert found["dependencies"] == {name: {"up": True, "reason": None} for name in ("mongodb", "kafka")}
    assert (found["lag"][0]["topic"], found["lag"][0]["partitions"]) == (topic, 4)
    reads = {f"sevenp-worker-{one['host']}-{one['pid']}": [0, 1, 2, 3]}
    assert found["lag"][0]["read_by"] == (reads if stack == "apache" else None)
    assert found["depths"]["items"]["failed"] == 1
    assert found["depths"]["oldest_item_s"] >= 3 * 3_600
    assert (found["ok"], found["unknown"], found["jobs"]) == (True, {}, [])
    assert found["checks"] == {"scrub": None, "verify-fix": None}

    shown = await sevenp_worker(settings, "status")
    assert shown.code == ExitCode.OK
    reader = " 0-3 " if stack == "apache" else "not told by Kafka"
    for words in (
        "mongodb answers",
        "kafka answers",
        "16 of 16",
        topic,
        reader,
        "No job is running.",
        "never",
        "queue list --group",
    ):
        assert words in shown.output
    assert shown.output.splitlines()[-1] == "MongoDB and Kafka answer, and each role has a live worker."


@pytest.mark.slow
async def test_without_kafka_everything_else_is_told_and_the_code_says_so(
    settings: dict[str, str], database: Database
) -> None:
    await say_alive(database, running_as(RoleSettings(), "pod:7:aa", ["ingest"]))
    without = {**settings, "SEVENP_KAFKA_BOOTSTRAP_SERVERS": NO_BROKER}
    ended = await sevenp_worker(without, "status", "--json")

    assert ended.code == ExitCode.UNREACHABLE
    found = told(ended)
    assert found["dependencies"]["mongodb"]["up"]
    assert NO_BROKER in found["dependencies"]["kafka"]["reason"]
    assert list(found["unknown"]) == ["lag"]
    assert found["lag"] is None
    assert [each["_id"] for each in found["workers"]] == ["pod:7:aa"]

    shown = await sevenp_worker(without, "status")
    assert "kafka does not answer: no broker answers at 127.0.0.1:1" in shown.output
    assert "lag: not known (kafka: no broker answers" in shown.output
    assert "no live worker has the role progress" in shown.output
    verdict = "Kafka does not answer; no live worker has progress, counts, notify, retry."
    assert shown.output.splitlines()[-1] == verdict


@pytest.mark.slow
async def test_without_mongodb_the_lag_is_told_all_the_same(
    settings: dict[str, str], kafka: str, topic: str
) -> None:
    ended = await sevenp_worker({**settings, "SEVENP_MONGODB_URI": NOBODY}, "status", "--json")

    assert ended.code == ExitCode.UNREACHABLE
    found = told(ended)
    assert not found["dependencies"]["mongodb"]["up"]
    assert set(found["unknown"]) == {"workers", "paused", "leases", "depths", "jobs", "checks"}
    assert (found["workers"], found["missing_roles"]) == (None, [])
    assert found["lag"] == [
        {"topic": topic, "partitions": 4, "records": 0, "unread_partitions": 4, "read_by": {}}
    ]


async def test_a_role_that_nobody_has_ends_it_with_1(settings: dict[str, str], database: Database) -> None:
    await say_alive(database, running_as(RoleSettings(), "pod:7:aa", ["ingest", "progress"]))
    ended = await sevenp_worker(settings, "status")

    assert ended.code == ExitCode.DIFFERENCE
    assert "no live worker has the role counts" in ended.output


async def test_a_prefix_that_nobody_uses_is_named(settings: dict[str, str]) -> None:
    ended = await sevenp_worker({**settings, "SEVENP_DATABASE_PREFIX": "test_misspelt"}, "status")

    assert ended.code == ExitCode.SCHEMA
    assert "SEVENP_DATABASE_PREFIX" in ended.error


@pytest.mark.slow
def test_watching_tells_again_and_again_until_somebody_stops_it(settings: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "status", "--watch", "--every", "0.5", "--json"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT_S)

    assert first["at"] < second["at"]
    assert process.returncode == ExitCode.INTERRUPTED
    assert errors == "sevenp-worker: interrupted: it only looked, nothing was changed\n"


@pytest.mark.slow
async def test_what_operators_have_paused_is_told_with_who_and_why(
    settings: dict[str, str], database: Database
) -> None:
    paused = await sevenp_worker(
        {**settings, "SEVENP_OPERATOR": "anna"}, "control", "pause", "counts", "--reason", "a migration"
    )
    assert paused.code == ExitCode.OK, paused.output
    found = told(await sevenp_worker(settings, "status", "--json"))
    shown = await sevenp_worker(settings, "status")

    (pause,) = found["paused"]["pauses"]
    assert (pause["target"]["name"], pause["said"]["reason"]) == ("counts", "a migration")
    assert pause["said"]["who"].startswith("anna@")
    for words in ("role counts", "anna@", "a migration"):
        assert words in shown.output
