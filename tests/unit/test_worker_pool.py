"""A forked worker is a process like any other: its own environment, log and end."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.worker_pool import WorkerPool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    opened = WorkerPool(tmp_path / "worker-pool.log")
    try:
        yield opened
    finally:
        opened.close()


def test_children_have_settings_logs_and_exit_codes_of_their_own(pool: WorkerPool, tmp_path: Path) -> None:
    wrong = {"one": {"SEVENP_HTTP_PORT": "none"}, "two": {"SEVENP_WATCH_LEASE_S": "never"}}
    started = {name: pool.start(name, tmp_path / name, settings) for name, settings in wrong.items()}
    assert {name: process.popen.wait(120) for name, process in started.items()} == {"one": 2, "two": 2}
    assert "SEVENP_HTTP_PORT" in started["one"].log_tail()
    assert "SEVENP_HTTP_PORT" not in started["two"].log_tail()
    assert "SEVENP_WATCH_LEASE_S" in started["two"].log_tail()


def test_a_killed_child_says_so(pool: WorkerPool, tmp_path: Path) -> None:
    nowhere = {
        "SEVENP_MONGODB_URI": "mongodb://127.0.0.1:9/?replicaSet=rs0",
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "SEVENP_HTTP_PORT": "0",
    }
    process = pool.start("waiting", tmp_path / "log", nowhere)
    assert process.returncode is None
    process.popen.kill()
    assert process.popen.wait(120) == -signal.SIGKILL
    assert process.returncode == -signal.SIGKILL
