"""A client whose commands can be made to fail, settings for the session's servers, and workers in own processes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningMongo
from tests.support.ingest import NO_OTHERS
from tests.support.worker_pool import shared_pool
from tests.support.worker_process import StartWorker, WorkerProcess
from worker.settings import variable
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close


@pytest.fixture
async def watched(database: Database, mongodb: RunningMongo) -> AsyncIterator[Database]:
    """The same database through a client of its own, which the server knows by the database's prefix."""
    client = make_client(mongodb.uri, application_name=database.prefix)
    yield open_database(client, prefix=database.prefix)
    await close(client)


@pytest.fixture
def settings(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> dict[str, str]:
    """Environment of a worker on this test's own database and topic; nothing comes in but what learners do."""
    return {
        variable("mongodb_uri"): mongodb.uri,
        variable("database_prefix"): database.prefix,
        variable("allow_test_commands"): "true",
        variable("kafka_bootstrap_servers"): kafka,
        variable("kafka_group_id"): f"group-{topic}",
        variable("topic"): topic,
        variable("http_port"): "0",
        **{variable(name): str(each) for name, each in NO_OTHERS.items()},
    }


@pytest.fixture
def start_worker(settings: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those still running at the end of the test are killed."""
    started: list[WorkerProcess] = []

    def start(**changes: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        environment = {**settings, **{variable(name): value for name, value in changes.items()}}
        popen = shared_pool().start("worker", log, environment).popen
        started.append(WorkerProcess(popen, log))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()
