"""MongoDB and a Kafka-protocol broker, together: our own in a temporary folder, or the ones that are named."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from worker.devstack.servers.apache.cluster import start_apache
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.topics import PLAINTEXT, create_topic

# Which Kafka is started: the wheel's, in memory; or Apache's, with files, by Java and Maven.
KafkaKind = Literal["embedded", "apache"]


class KafkaServer(Protocol):
    """A broker, or a cluster of them, that was started here.

    `knows_idempotence`: it drops what an idempotent producer sends twice.
    """

    knows_idempotence: ClassVar[bool]

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        ...

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        ...

    def stop(self) -> None:
        """End it by its process id; blocks until it is gone."""
        ...


async def start_kafka(kind: KafkaKind, folder: Path) -> KafkaServer:
    """Start a broker of this kind with its files below `folder`."""
    return await (start_apache(folder) if kind == "apache" else start_broker(folder))


@dataclass(frozen=True, slots=True)
class Stack:
    """Where to reach both servers. `folder` holds data and logs of those that are ours."""

    folder: Path
    mongodb_uri: str
    kafka_bootstrap_servers: str
    mongod: Mongod | None
    broker: KafkaServer | None

    @property
    def is_ours(self) -> bool:
        """True when nobody else uses these servers: both were started here."""
        return self.mongod is not None and self.broker is not None

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when a server of ours has ended."""
        for server in (self.mongod, self.broker):
            if server is not None:
                server.require_alive()

    async def stop(self, *, keep_logs: bool = False) -> None:
        """End our servers by their process ids and remove their data; `keep_logs` leaves the log files."""
        await asyncio.to_thread(self._stop, keep_logs)

    def _stop(self, keep_logs: bool) -> None:
        for server in (self.broker, self.mongod):
            if server is not None:
                server.stop()
        data = [each for each in self.folder.iterdir() if each.is_dir()] if keep_logs else [self.folder]
        for each in data:
            shutil.rmtree(each, ignore_errors=True)

    @classmethod
    async def start(
        cls,
        *,
        mongodb_uri: str | None = None,
        kafka_bootstrap_servers: str | None = None,
        kafka: KafkaKind = "embedded",
    ) -> Self:
        """Start what is not named. Raises StartFailed, or Misconfigured where this machine cannot."""
        folder = Path(tempfile.mkdtemp(prefix="sevenp-"))
        mongod = broker = None
        try:
            if mongodb_uri is None:
                mongod = await start_mongod(folder)
            if kafka_bootstrap_servers is None:
                broker = await start_kafka(kafka, folder)
        except BaseException:
            if mongod is not None:
                await asyncio.to_thread(mongod.stop)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(
            folder=folder,
            mongodb_uri=mongodb_uri or (mongod.uri if mongod else ""),
            kafka_bootstrap_servers=kafka_bootstrap_servers or (broker.bootstrap_servers if broker else ""),
            mongod=mongod,
            broker=broker,
        )

    async def create_topic(self, topic: str, partitions: int, kafka: Mapping[str, Any] = PLAINTEXT) -> bool:
        """Create the topic; False when it stood already. `kafka` are the clients' security arguments."""
        return await create_topic(self.kafka_bootstrap_servers, topic, partitions, kafka=kafka)
