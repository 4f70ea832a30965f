"""The worker as a process: what an orchestrator sees."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.support.worker_process import StartWorker, fetch
from worker.app.exits import ExitCode
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.topics import create_topic


def test_a_started_worker_is_ready_alive_and_exports_its_roles(start_worker: StartWorker) -> None:
    url = start_worker().wait_until_ready()
    assert fetch(f"{url}/livez")[0] == 200
    metrics = fetch(f"{url}/metrics")[1]
    for role in ("ingest", "progress", "readiness"):
        assert f'sevenp_worker_component_up{{component="{role}"}} 1.0' in metrics
    assert "sevenp_worker_build_info{" in metrics


@pytest.mark.slow
def test_a_worker_told_to_stop_drains_and_ends_with_0_however_often_it_is_told(
    start_worker: StartWorker, topic: str
) -> None:
    worker = start_worker()
    url = worker.wait_until_ready()
    wait_until(
        lambda: f'assigned_partitions{{topic="{topic}"}} 4.0' in fetch(f"{url}/metrics")[1], "worker reads"
    )
    for told in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        worker.popen.send_signal(told)
    assert worker.exit_code() == ExitCode.OK
    assert [line for line in worker.lines() if not line.startswith("{")] == []
    assert "stopped" in [each["event"] for each in worker.events()]


def test_a_worker_told_to_stop_while_it_waits_for_its_servers_ends_with_0(start_worker: StartWorker) -> None:
    worker = start_worker(mongodb_uri="mongodb://127.0.0.1:1/?replicaSet=rs0")
    worker.url()
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.exit_code() == ExitCode.OK


def test_servers_that_do_not_answer_end_the_start_with_4_and_the_setting_to_look_at(
    start_worker: StartWorker,
) -> None:
    worker = start_worker(mongodb_uri="mongodb://127.0.0.1:1/?replicaSet=rs0", start_timeout_s="1")
    assert worker.exit_code() == ExitCode.UNREACHABLE
    assert worker.error().startswith("sevenp-worker: error: mongodb did not answer within 1 s")
    assert "SEVENP_MONGODB_URI" in worker.error()


def test_a_broker_that_does_not_answer_ends_the_start_with_4(start_worker: StartWorker) -> None:
    worker = start_worker(kafka_bootstrap_servers="127.0.0.1:1", start_timeout_s="1")
    assert worker.exit_code() == ExitCode.UNREACHABLE
    assert "SEVENP_KAFKA_BOOTSTRAP_SERVERS" in worker.error()


def test_a_missing_schema_ends_the_start_with_3_and_names_what_differs(start_worker: StartWorker) -> None:
    worker = start_worker(database_prefix="test_nothing_here")
    assert worker.exit_code() == ExitCode.SCHEMA
    assert "sevenp-worker schema apply" in worker.error()
    assert "course_events collection: absent" in worker.error()


def test_a_test_server_is_refused_unless_the_settings_say_so(start_worker: StartWorker) -> None:
    worker = start_worker(allow_test_commands="false")
    assert worker.exit_code() == ExitCode.USAGE
    assert "enableTestCommands" in worker.error()


@pytest.mark.slow
def test_a_broker_that_goes_away_makes_the_worker_unready_but_leaves_it_alive(
    start_worker: StartWorker, tmp_path: Path, topic: str
) -> None:
    broker = asyncio.run(start_broker(tmp_path))
    try:
        asyncio.run(create_topic(broker.bootstrap_servers, topic, partitions=1))
        worker = start_worker(kafka_bootstrap_servers=broker.bootstrap_servers)
        url = worker.wait_until_ready()
    finally:
        broker.stop()
    wait_until(lambda: fetch(f"{url}/readyz")[0] == 503, "worker is unready")
    assert json.loads(fetch(f"{url}/readyz")[1])["down"] == ["kafka"]
    assert fetch(f"{url}/livez")[0] == 200
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.exit_code() == ExitCode.OK
