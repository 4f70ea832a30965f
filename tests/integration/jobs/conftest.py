"""Commands that run jobs, each as a process of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import RunningMongo
from tests.support.waiting import until
from tests.support.worker_pool import shared_pool
from worker.devstack.servers.process import ServerProcess
from worker.settings import variable
from worker.storage.database import Database

LEASE_S = "2"


@dataclass(slots=True)
class Commands:
    """Starts `count` of `tests.support.job_command` on this test's database; kills who still runs at its end."""

    environment: dict[str, str]
    folder: Path
    started: list[ServerProcess] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> ServerProcess:
        """One command as a process, with its output in its log."""
        log = self.folder / f"job-{len(self.started)}.log"
        process = shared_pool().start(
            "job", log, {**self.environment, **environment}, arguments, "tests.support.job_command"
        )
        self.started.append(process)
        return process

    async def ended(self, process: ServerProcess) -> tuple[int, str]:
        """Its exit code and its output, once it has ended."""
        await until(lambda: process.returncode is not None, "the command ends", 120)
        return process.popen.wait(), process.log.read_text()

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Start one, and wait for its end."""
        return await self.ended(self.start(*arguments, **environment))

    def close(self) -> None:
        for process in self.started:
            process.popen.kill()
            process.popen.wait()


@pytest.fixture
def environment(database: Database, mongodb: RunningMongo) -> dict[str, str]:
    """Of commands on this test's database."""
    return {
        variable("mongodb_uri"): mongodb.uri,
        variable("database_prefix"): database.prefix,
        variable("allow_test_commands"): "true",
        variable("jobs_lease_s"): LEASE_S,
        variable("operator"): "anna",
    }


@pytest.fixture
def commands(environment: dict[str, str], tmp_path: Path) -> Iterator[Commands]:
    running = Commands(environment, tmp_path)
    yield running
    running.close()
