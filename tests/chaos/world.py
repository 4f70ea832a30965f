"""What one history happens in: servers of its own, a schema, topics, a receiver; only the worker writes documents."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from projections.catalogue import catalogue_for
from tests.chaos.launcher import BROKEN_VARIABLE
from tests.chaos.scenarios import BROKEN_LESSON, REFUSED_DEVICE
from tests.chaos.steps import PARTITIONS
from tests.integration.notify.http_receiver import HttpReceiver
from worker.contract.routes import USUAL_TOPICS
from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.process import free_port
from worker.devstack.servers.stack import KafkaKind, KafkaServer
from worker.devstack.servers.topics import create_topic
from worker.settings.ingest import topic_variables
from worker.settings.ownership import owner_variables
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema

GROUP = "chaos"
PREFIX = "education_platform"
SESSION_TIMEOUT_S = 2
# Whose documents the worker makes of events, besides what is always its own.
OWNED = frozenset({"courses", "users"})
# Fixed dates are published; nothing may expire under them. No test commands: the server is a plain one.
_PARAMETERS = ("ttlMonitorEnabled=false",)
# Apache Kafka grants no shorter session than this unless it is told so.
_PROPERTIES = {"group.min.session.timeout.ms": "1000", "offsets.topic.num.partitions": "1"}
_SECRET = "a secret of some length"  # noqa: S105 - of this harness


@dataclass
class World:
    """Running servers. `mongod_uri` is what workers are given: a proxy may stand before the server.

    `keep` is where logs and ledger go when everything ends; None for nowhere.
    """

    folder: Path
    mongod: Mongod
    kafka: KafkaServer
    database: Database
    receiver: HttpReceiver
    mongod_uri: str
    keep: Path | None = None

    async def restart_mongod(self) -> None:
        """Kill mongod if it still runs; return when it is primary again, on the same port and files."""
        self.mongod.process.popen.kill()
        await asyncio.to_thread(self.mongod.process.popen.wait)
        self.mongod = await start_mongod(self.folder, port=self.mongod.port, parameters=_PARAMETERS)

    async def restart_broker(self) -> None:
        """Kill the broker; return when it answers again. Only a broker with files survives that."""
        if not isinstance(self.kafka, ApacheKafka):
            raise TypeError("this broker keeps its records in memory")
        self.kafka.nodes[0].kill()
        await self.kafka.restart(self.kafka.nodes[0])

    def settings(self) -> Mapping[str, str]:
        """Small batches, so that a run is many writes; short leases, so that a run begins soon after a crash.

        The event store counts as somebody else's, since the scenarios have put a stricter validator on it.
        """
        return {
            "SEVENP_MONGODB_URI": self.mongod_uri,
            "SEVENP_DATABASE_PREFIX": PREFIX,
            "SEVENP_EXTERNAL_COLLECTIONS": "course_events",
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "SEVENP_KAFKA_GROUP_ID": GROUP,
            **topic_variables(USUAL_TOPICS),
            **owner_variables(OWNED),
            "SEVENP_INGEST_MAX_RECORDS": "100",
            "SEVENP_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_S * 1000),
            "SEVENP_WATCH_LEASE_S": "2",
            "SEVENP_NOTIFY_WITHIN_HOURS": "800000",  # what happens there happened long ago
            "SEVENP_NOTIFY_ROUTES": "welcome=webhook,completion=webhook",
            "SEVENP_NOTIFY_WEBHOOK_URL": self.receiver.url,
            "SEVENP_NOTIFY_WEBHOOK_SECRET": _SECRET,
            "SEVENP_NOTIFY_LEASE_S": "2",
            "SEVENP_RETRY_LEASE_S": "2",
            "SEVENP_RETRY_BACKOFF_S": "0.5",
            "SEVENP_RETRY_LONGEST_BACKOFF_S": "1",
            # Each crash in an attempt counts as one.
            "SEVENP_RETRY_MAX_ATTEMPTS": "100",
            "SEVENP_HTTP_HOST": "127.0.0.1",
            "SEVENP_HTTP_PORT": str(free_port()),
            BROKEN_VARIABLE: str(BROKEN_LESSON),
        }

    @property
    def secrets(self) -> Sequence[str]:
        """What may stand nowhere."""
        return [_SECRET]


@asynccontextmanager
async def world(kind: KafkaKind) -> AsyncIterator[World]:
    """Servers in a temporary folder; everything in it ends with the block."""
    async with AsyncExitStack() as on_leaving:
        folder = Path(tempfile.mkdtemp(prefix="sevenp-chaos-"))
        on_leaving.callback(shutil.rmtree, folder, ignore_errors=True)
        on_leaving.callback(lambda: _keep_logs(folder, built.keep if built else None))
        built: World | None = None
        mongod = await start_mongod(folder, parameters=_PARAMETERS)
        on_leaving.callback(lambda: (built.mongod if built else mongod).stop())
        kafka: KafkaServer = await (
            start_apache(folder, properties=_PROPERTIES) if kind == "apache" else start_broker(folder)
        )
        on_leaving.callback(kafka.stop)
        client = make_client(mongod.uri)
        on_leaving.push_async_callback(close, client)
        database = open_database(client, PREFIX, catalogue_for(OWNED))
        await apply_schema(database)
        await _refuse_a_device(database)
        for topic, partitions in PARTITIONS.items():
            await create_topic(kafka.bootstrap_servers, topic, partitions)
        receiver = on_leaving.enter_context(HttpReceiver())
        built = World(folder, mongod, kafka, database, receiver, mongod.uri)
        yield built


def _keep_logs(folder: Path, keep: Path | None) -> None:
    if keep is None:
        return
    keep.mkdir(parents=True, exist_ok=True)
    for log in [*folder.rglob("*.log"), *folder.glob("*.jsonl")]:
        shutil.copy(log, keep / log.name)


async def _refuse_a_device(database: Database) -> None:
    """One more rule for the event store: a document it refuses leaves a hole behind."""
    listed = await (await database.content.list_collections(filter={"name": "course_events"})).to_list(None)
    stricter = {
        "$and": [listed[0]["options"]["validator"], {"event_data.device_type": {"$ne": REFUSED_DEVICE}}]
    }
    await database.content.command({"collMod": "course_events", "validator": stricter})
