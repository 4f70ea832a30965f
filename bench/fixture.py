"""One mongod and one broker with the records in a topic; fresh databases and a fresh group for every run."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.contestants.task import Task
from bench.expected import Expected, expected_of
from bench.records import AnyWorkload
from worker.devstack.servers.apache.artifacts import java_binary
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.broker import Broker
from worker.devstack.servers.mongod import Mongod
from worker.devstack.servers.stack import KafkaKind, KafkaServer, Stack
from worker.errors import Fatal, Misconfigured
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.storage.database import Client, Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

CLOCK = SystemClock()
PARTITIONS = 4
_PREFIX = "bench"
# What mongod would take by itself. The dev stack gives it half a gigabyte: with that it spends two thirds of its time
# on writing pages out, from 100,000 events on.
_CACHE_BYTES = max(2**29, (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") - 2**30) // 2)


def kafka_here() -> KafkaKind:
    """Apache Kafka where its Java and Maven are, else the embedded broker."""
    try:
        java_binary()
    except Misconfigured:
        return "embedded"
    return "apache" if shutil.which("mvn") else "embedded"


@dataclass(frozen=True, slots=True)
class Published:
    """A topic that holds a workload's records, and what must come of them."""

    topic: str
    workload: AnyWorkload
    expected: Expected


@dataclass(frozen=True, slots=True)
class Fixture:
    """Servers of our own. `numbers` names what every run has of its own; `published` are the topics, by name."""

    kind: KafkaKind
    stack: Stack
    mongod: Mongod
    broker: KafkaServer
    client: Client
    numbers: Iterable[int]
    published: dict[str, Published] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.stack.folder

    @property
    def broker_pids(self) -> list[int]:
        """The processes that are Kafka."""
        match self.broker:
            case Broker():
                return [self.broker.process.pid]
            case ApacheKafka():
                return [node.running.pid for node in self.broker.nodes]
            case _:
                return []

    async def publish(self, topic: str, partitions: int, records: Iterable[OutgoingRecord]) -> None:
        """Create the topic and fill it; returns when all records are acknowledged."""
        await self.stack.create_topic(topic, partitions)
        publisher = Publisher(
            self.stack.kafka_bootstrap_servers, topic, clock=CLOCK, idempotent=self.broker.knows_idempotence
        )
        async with publisher:
            await publisher.publish(records)

    @asynccontextmanager
    async def run(self, topic: str) -> AsyncIterator[tuple[Task, Database]]:
        """A task with databases of its own, which have the worker's schema; dropped afterwards."""
        number = next(iter(self.numbers))
        database = open_database(self.client, f"{_PREFIX}_{number}")
        await apply_schema(database)
        task = Task(
            self.stack.kafka_bootstrap_servers,
            topic,
            f"{_PREFIX}-{number}",
            self.mongod.uri,
            database.content.name,
            database.analytics.name,
        )
        try:
            yield task, database
        finally:
            for home in (database.content, database.analytics, database.config):
                await self.client.drop_database(home)
            # What one run left to be written must not slow the next one down.
            await self.client.admin.command("fsync")


@asynccontextmanager
async def fixture(kind: KafkaKind) -> AsyncIterator[Fixture]:
    """Servers that end with the block."""
    stack = await Stack.start(kafka=kind)
    client = make_client(stack.mongodb_uri)
    try:
        if stack.mongod is None or stack.broker is None:
            raise Fatal("the benchmark drops databases: it runs on servers of its own")
        await client.admin.command(
            "setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={_CACHE_BYTES}"
        )
        yield Fixture(kind, stack, stack.mongod, stack.broker, client, count(1))
    finally:
        await close(client)
        await stack.stop()


async def publish_workload(
    given: Fixture, topic: str, workload: AnyWorkload, partitions: int = PARTITIONS
) -> Published:
    """Publish all of it, unless the topic was filled before."""
    if topic not in given.published:
        records = await asyncio.to_thread(lambda: list(workload.records()))
        await given.publish(topic, partitions, records)
        given.published[topic] = Published(topic, workload, expected_of(records))
    return given.published[topic]
