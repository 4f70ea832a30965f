"""What the metrics say while MongoDB is dead and Kafka frozen: how much waits, for how long, and who is down."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.support.ingest import event, records, send
from tests.support.kafka import make_topic
from tests.support.scraping import samples_at, value_at
from tests.support.waiting import stretched, until
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.apache.node import Node
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.worker_process import start_worker
from worker.settings import variable
from worker.storage.database import make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema

PREFIX = "outage"
PARTITIONS = 4
PUBLISHED = 30_000
# What is promised: an operator sees within this time what waits, and that a broker does not answer.
WITHIN_S = 15.0


@asynccontextmanager
async def own_mongod(folder: Path) -> AsyncIterator[Mongod]:
    """A server that a test may kill, with the worker's collections."""
    mongod = await start_mongod(folder)
    try:
        client = make_client(mongod.uri)
        await apply_schema(open_database(client, prefix=PREFIX))
        await close(client)
        yield mongod
    finally:
        mongod.stop()


@asynccontextmanager
async def worker(folder: Path, mongodb_uri: str, kafka: str, topic: str) -> AsyncIterator[str]:
    """A worker that has read everything; its URL. It is killed at the end: it could not drain."""
    probe = start_worker(
        folder,
        {
            variable("mongodb_uri"): mongodb_uri,
            variable("database_prefix"): PREFIX,
            variable("kafka_bootstrap_servers"): kafka,
            variable("kafka_group_id"): f"group-{topic}",
            variable("topic"): topic,
        },
    )
    assert probe.process is not None
    try:
        await probe.wait_until_ready(topic, PARTITIONS)
        yield probe.url
    finally:
        probe.process.popen.kill()
        await asyncio.to_thread(probe.process.popen.wait)


@contextmanager
def frozen(node: Node) -> Iterator[None]:
    """It accepts connections and answers nothing."""
    node.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.signal(signal.SIGCONT)


def total(url: str, name: str) -> float:
    """The sum over the partitions."""
    return sum(each.value for each in samples_at(url) if each.name == f"sevenp_worker_{name}")


def oldest_s(url: str) -> float:
    return max(
        each.value for each in samples_at(url) if each.name == "sevenp_worker_kafka_consumer_lag_seconds"
    )


@pytest.mark.slow
async def test_with_mongodb_dead_the_lag_is_what_was_published_and_with_kafka_frozen_it_grows_older(
    tmp_path: Path, own_broker: ApacheKafka
) -> None:
    kafka, [node] = own_broker.bootstrap_servers, own_broker.nodes
    topic = await make_topic(kafka, PARTITIONS)
    published = records(event(number % 500) for number in range(PUBLISHED))
    async with own_mongod(tmp_path) as mongod, worker(tmp_path, mongod.uri, kafka, topic) as url:
        assert value_at(url, "dependency_up", dependency="mongodb") == 1
        mongod.process.popen.kill()
        await send(kafka, topic, published)
        began = time.monotonic()
        await until(lambda: total(url, "kafka_consumer_lag_records") == PUBLISHED, "all of it is shown")
        assert time.monotonic() - began < stretched(WITHIN_S)
        assert value_at(url, "kafka_scalable_lag_records", topic=topic) == PUBLISHED
        await until(lambda: value_at(url, "dependency_up", dependency="mongodb") == 0, "MongoDB is down")
        assert value_at(url, "dependency_up", dependency="kafka") == 1
        with frozen(node):
            began = time.monotonic()
            await until(lambda: value_at(url, "dependency_up", dependency="kafka") == 0, "Kafka is down")
            assert time.monotonic() - began < stretched(WITHIN_S)
            updated = value_at(url, "kafka_lag_updated_timestamp_seconds", topic=topic)
            before_s = oldest_s(url)
            await until(lambda: oldest_s(url) > before_s + 5, "the oldest record grows older")
            assert total(url, "kafka_consumer_lag_records") == PUBLISHED
            assert value_at(url, "kafka_lag_updated_timestamp_seconds", topic=topic) == updated
        await until(lambda: value_at(url, "dependency_up", dependency="kafka") == 1, "Kafka answers again")
