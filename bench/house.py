"""MongoDB, Apache Kafka and workers as processes, each of which can be killed and started again."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.topics import create_topic
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema

TOPIC = "interaction-events"
PARTITIONS = 4


@dataclass
class House:
    """Servers with a schema and a topic. `workers` by the names they were started under."""

    folder: Path
    mongod: Mongod
    kafka: ApacheKafka
    database: Database
    workers: dict[str, WorkerProbe] = field(default_factory=dict)

    def start(self, name: str, settings: Mapping[str, str] | None = None) -> WorkerProbe:
        """Start a worker with all roles; its log is `NAME/worker.log`."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        self.workers[name] = start_worker(
            folder,
            {
                "SEVENP_MONGODB_URI": self.mongod.uri,
                "SEVENP_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
                "SEVENP_TOPIC": TOPIC,
                **(settings or {}),
            },
        )
        return self.workers[name]

    def kill(self, name: str) -> None:
        """SIGKILL; blocks until the process is gone."""
        process = self.workers.pop(name).process
        if process is not None:
            process.popen.kill()
            process.popen.wait()

    def kill_all(self) -> None:
        """SIGKILL for every worker that runs."""
        for name in list(self.workers):
            self.kill(name)

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait for the drain."""
        process = self.workers.pop(name).process
        if process is not None:
            await asyncio.to_thread(process.stop, 40.0)

    async def restart_mongod(self) -> None:
        """Kill mongod; return when it is primary again, on the same port and files."""
        self.mongod.process.popen.kill()
        self.mongod.process.popen.wait()
        self.mongod = await start_mongod(self.folder, port=self.mongod.port)

    async def restart_broker(self) -> None:
        """Kill the broker; return when it answers again."""
        self.kafka.nodes[0].kill()
        await self.kafka.restart(self.kafka.nodes[0])


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    """A house of its own in a temporary folder; everything in it ends with the block."""
    async with AsyncExitStack() as on_leaving:
        folder = Path(tempfile.mkdtemp(prefix="sevenp-bench-"))
        on_leaving.callback(shutil.rmtree, folder, ignore_errors=True)
        mongod = await start_mongod(folder)
        on_leaving.callback(lambda: built.mongod.stop() if built else mongod.stop())
        built: House | None = None
        kafka = await start_apache(folder)
        on_leaving.callback(kafka.stop)
        client = make_client(mongod.uri)
        on_leaving.push_async_callback(close, client)
        database = open_database(client, "education_platform")
        await apply_schema(database)
        await create_topic(kafka.bootstrap_servers, TOPIC, PARTITIONS)
        built = House(folder, mongod, kafka, database)
        on_leaving.callback(built.kill_all)
        yield built
