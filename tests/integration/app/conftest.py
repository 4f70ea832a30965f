"""Settings on the session's servers, and a worker process as operators run it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import BUSY_LIMIT_S
from tests.conftest import RunningMongo
from worker.settings import variable
from worker.storage.database import Database

LIMIT_S = BUSY_LIMIT_S


def fetch(url: str) -> tuple[int, str]:
    """Status and body; status 0 while nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; fail with `what` after a generous limit."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT_S:.0f} s: {what}"


@dataclass
class WorkerProcess:
    """`python -m worker run`, with what it wrote to stderr."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def url(self) -> str:
        until(lambda: self._listening() is not None or self.popen.poll() is not None, "worker listens")
        url = self._listening()
        assert url is not None, self.lines()
        return url

    def _listening(self) -> str | None:
        # The last line may be half written.
        lines = [line for line in self.lines() if line.endswith("}")]
        found = [json.loads(line) for line in lines if '"listening"' in line]
        return found[0]["url"] if found else None

    def wait_until_ready(self) -> str:
        url = self.url()
        until(lambda: fetch(f"{url}/readyz")[0] == 200 or self.popen.poll() is not None, "worker is ready")
        assert self.popen.poll() is None, self.lines()
        return url

    def exit_code(self) -> int:
        return self.popen.wait(LIMIT_S)


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def settings(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> dict[str, str]:
    """Environment of a worker on this test's own database and topic."""
    return {
        variable("mongodb_uri"): mongodb.uri,
        variable("database_prefix"): database.prefix,
        variable("allow_test_commands"): "true",
        variable("kafka_bootstrap_servers"): kafka,
        variable("kafka_group_id"): f"group-{topic}",
        variable("topic"): topic,
        variable("http_port"): "0",
    }


@pytest.fixture
def start_worker(settings: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those still running at the end of the test are killed."""
    started: list[WorkerProcess] = []

    def start(**changes: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        environment = {**os.environ, **settings, **{variable(name): value for name, value in changes.items()}}
        with log.open("wb") as output:
            popen = subprocess.Popen([sys.executable, "-m", "worker", "run"], stderr=output, env=environment)
        started.append(WorkerProcess(popen, log))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()
