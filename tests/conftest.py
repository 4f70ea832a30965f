"""Real parts for every test: one mongod and one broker per session, a fresh database and topic per test.

`--stack apache` runs them on Apache Kafka. What only that can show is in tests/apache, which other stacks leave out.

Where the wheels do not fit the platform, SEVENP_TEST_MONGODB_URI (a replica set started with
enableTestCommands=1) and SEVENP_TEST_KAFKA_BOOTSTRAP_SERVERS name servers to use instead. On another machine
they need SEVENP_ALLOW_PLAINTEXT=true: the tests speak plaintext.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings

from worker.devstack.mongod import start_mongod
from worker.devstack.stack import KafkaKind, start_kafka
from worker.devstack.topics import create_topic
from worker.storage import schema
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close

# A busy machine is no defect of what is tested: no example has a deadline.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

TEST_PARAMETERS = (
    "enableTestCommands=1",  # failpoints
    "ttlMonitorEnabled=false",  # tests write fixed dates; nothing may vanish under them
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack", choices=get_args(KafkaKind), default="embedded", help="Kafka to run the tests on"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """True leaves a folder out; None lets pytest decide."""
    only_apache = Path(__file__).parent / "apache"
    return True if collection_path == only_apache and config.getoption("stack") != "apache" else None


@dataclass(frozen=True, slots=True)
class RunningMongo:
    """A replica set that tests may use; `pid` is None when it is not ours."""

    uri: str
    pid: int | None


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongo]:
    """A primary for the whole session, with test commands on."""
    external = os.environ.get("SEVENP_TEST_MONGODB_URI")
    if external:
        yield RunningMongo(external, None)
        return
    folder = tmp_path_factory.mktemp("mongodb")
    mongod = asyncio.run(start_mongod(folder, parameters=TEST_PARAMETERS))
    try:
        yield RunningMongo(mongod.uri, mongod.process.pid)
    finally:
        mongod.stop()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> KafkaKind:
    """The kind of Kafka the tests run on."""
    kind: KafkaKind = request.config.getoption("stack")
    return kind


@pytest.fixture(scope="session")
def kafka(stack: KafkaKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker for the whole session."""
    external = os.environ.get("SEVENP_TEST_KAFKA_BOOTSTRAP_SERVERS")
    if external:
        yield external
        return
    broker = asyncio.run(start_kafka(stack, tmp_path_factory.mktemp("kafka")))
    try:
        yield broker.bootstrap_servers
    finally:
        broker.stop()


@pytest.fixture
async def database(mongodb: RunningMongo) -> AsyncIterator[Database]:
    """A database of its own with the schema applied, dropped afterwards."""
    client = make_client(mongodb.uri)
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    try:
        database = open_database(client, prefix=prefix)
        await schema.apply_schema(database)
        yield database
        for name in await client.list_database_names():
            if name.startswith(prefix):
                await client.drop_database(name)
    finally:
        await close(client)


@pytest.fixture
async def topic(kafka: str) -> str:
    """A fresh topic with four partitions."""
    name = f"events-{uuid.uuid4().hex[:12]}"
    await create_topic(kafka, name, partitions=4)
    return name
