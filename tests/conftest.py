"""Real parts for every test: one mongod and one broker per session, a database and topic of its own per test.

`--stack apache` runs them on Apache Kafka, `--stack containers` on MongoDB and Apache Kafka from containers.
What needs brokers that can be killed is in tests/apache, which other stacks leave out.

Where the wheels do not fit the platform, SEVENP_TEST_MONGODB_URI (a replica set started with
enableTestCommands=1) and SEVENP_TEST_KAFKA_BOOTSTRAP_SERVERS name servers to use instead. On another machine
they need SEVENP_ALLOW_PLAINTEXT=true: the tests speak plaintext.
"""

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support import containers
from tests.support.containers import MongoContainer
from tests.support.databases import Databases
from tests.support.kafka import ends
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.stack import KafkaKind, KafkaServer, start_kafka
from worker.devstack.servers.topics import create_topic
from worker.errors import Misconfigured
from worker.settings import variable
from worker.storage.database import Database, make_client
from worker.storage.driver import close

# A busy machine is no defect of what is tested: no example has a deadline. A change is judged by the same
# examples each time; `--hypothesis-profile explore` draws new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", parent=settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

# Roles log errors that a test has caused. The renderer's own way shows each traceback with source in colours and all
# local variables: half a second of work, for nobody.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])

TEST_PARAMETERS = (
    "enableTestCommands=1",  # failpoints
    "ttlMonitorEnabled=false",  # tests write fixed dates; nothing may vanish under them
)

StackKind = Literal[KafkaKind, "containers"]
# Servers that somebody else runs, and the image that is not needed then.
MONGODB_URI = "SEVENP_TEST_MONGODB_URI"
BOOTSTRAP_SERVERS = "SEVENP_TEST_KAFKA_BOOTSTRAP_SERVERS"
IMAGE_INSTEAD_OF = {
    MONGODB_URI: "SEVENP_TEST_MONGODB_IMAGE",
    BOOTSTRAP_SERVERS: "SEVENP_TEST_KAFKA_IMAGE",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack", choices=get_args(StackKind), default="embedded", help="servers to run the tests on"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Without Docker or an image the session ends before the first test, with one message."""
    # Jobs that gave way to all other tests would take minutes.
    os.environ.setdefault(variable("jobs_nice"), "0")
    if config.getoption("stack") != "containers":
        return
    try:
        containers.require_images(
            image for server, image in IMAGE_INSTEAD_OF.items() if not os.environ.get(server)
        )
    except Misconfigured as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end: nothing of it is garbage, and nobody needs to look through it again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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
def stack(request: pytest.FixtureRequest) -> StackKind:
    """The kind of servers the tests run on."""
    kind: StackKind = request.config.getoption("stack")
    return kind


@pytest.fixture(scope="session")
def mongodb(stack: StackKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongo]:
    """A primary for the whole session, with test commands on."""
    external = os.environ.get(MONGODB_URI)
    if external:
        yield RunningMongo(external, None)
        return
    if stack == "containers":
        mongod: Mongod | MongoContainer = asyncio.run(containers.start_mongodb(TEST_PARAMETERS))
    else:
        folder = tmp_path_factory.mktemp("mongodb")
        mongod = asyncio.run(start_mongod(folder, parameters=TEST_PARAMETERS))
    try:
        yield RunningMongo(mongod.uri, mongod.process.pid if isinstance(mongod, Mongod) else None)
    finally:
        mongod.stop()


@pytest.fixture(scope="session")
def kafka(stack: StackKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker for the whole session."""
    external = os.environ.get(BOOTSTRAP_SERVERS)
    if external:
        yield external
        return
    if stack == "containers":
        broker: KafkaServer = asyncio.run(containers.start_kafka())
    else:
        broker = asyncio.run(start_kafka(stack, tmp_path_factory.mktemp("kafka")))
    try:
        yield broker.bootstrap_servers
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def databases(mongodb: RunningMongo) -> Iterator[Databases]:
    """Databases with the schema applied, emptied after each test."""
    databases = Databases(mongodb.uri)
    yield databases
    databases.close(drop=mongodb.pid is None)  # it is not ours, and goes on


@pytest.fixture
async def database(mongodb: RunningMongo, databases: Databases) -> AsyncIterator[Database]:
    """A database of its own with the schema applied, and nothing else in it."""
    client = make_client(mongodb.uri)
    try:
        database = await databases.take(client)
        yield database
        databases.give_back(database.prefix)
    finally:
        await close(client)


@pytest.fixture
async def topic(kafka: str, stack: StackKind) -> str:
    """A fresh topic with four partitions, each of which says where it ends: a real broker takes some time for it."""
    name = f"events-{uuid.uuid4().hex[:12]}"
    await create_topic(kafka, name, partitions=4)
    if stack != "embedded":
        assert await ends(kafka, name, 4) == [0] * 4
    return name
