"""Several real workers on one topic: start them, see what each says of itself, know when all is done."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.apache.load import Load
from tests.chaos.target import committed, projected, uncounted
from tests.oracle import ALL, Finding, check
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess, free_port, spawn
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database
from worker.storage.shares import GROUPS
from worker.telemetry.metrics import PREFIX
from worker.verify.findings import Verification
from worker.verify.run import verify

# Divisible by two and by three; each has learners enough to be like the others.
PARTITIONS = 12
GROUP = "fleet"
# Far above what a step takes on an idle machine.
LIMIT_S = 300.0
# What a drain may take on a machine that is busy with other things.
STOP_LIMIT_S = 120.0
_HTTP_TIMEOUT_S = 10.0

Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process and its HTTP port."""

    name: str
    process: ServerProcess
    port: int

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples with these labels; 0 while it does not answer."""
        samples = await asyncio.to_thread(self._samples)
        return sum(
            value
            for sample, own, value in samples
            if sample == f"{PREFIX}_{name}" and labels.items() <= own.items()
        )

    async def partitions(self) -> int:
        return int(await self.metric("kafka_assigned_partitions"))

    async def processed(self) -> int:
        return int(await self.metric("events_processed_total"))

    async def rebalances(self) -> int:
        """Assignments and revocations it went through."""
        return int(await self.metric("kafka_rebalances_total"))

    async def groups(self) -> int:
        """Slot groups of the progress role that it holds."""
        samples = await asyncio.to_thread(self._samples)
        return int(
            sum(
                value
                for name, labels, value in samples
                if name == f"{PREFIX}_lease_held" and labels["lease"].startswith("progress:")
            )
        )

    async def shares(self) -> bool:
        """Whether it has some of both kinds of work."""
        self.process.require_alive()
        return await self.partitions() > 0 and await self.groups() > 0

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        await asyncio.to_thread(self.process.stop, STOP_LIMIT_S)
        return self.process.popen.returncode

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.popen.kill()
        await asyncio.to_thread(self.process.popen.wait)

    def _samples(self) -> list[Sample]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except (OSError, HTTPException):
            return []
        finally:
            connection.close()
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]


@dataclass
class Fleet:
    """Workers with one configuration. `bootstrap_servers` is where the topic is."""

    folder: Path
    database: Database
    mongodb_uri: str
    bootstrap_servers: str
    topic: str
    workers: list[Worker] = field(default_factory=list)

    def start(self, name: str, *, module: str = "worker", **settings: str) -> Worker:
        """`python -m MODULE run` with ingest, progress and counts; `settings` go over the common ones."""
        port = free_port()
        environment = {**self._settings(), **settings, "SEVENP_HTTP_PORT": str(port)}
        command = [sys.executable, "-m", module, "run"]
        process = spawn(name, command, self.folder / f"{name}.log", environment)
        self.workers.append(Worker(name, process, port))
        return self.workers[-1]

    async def all_owned_by(self, *workers: Worker) -> bool:
        """Whether these workers have all partitions and all slot groups, each of them some of both."""
        partitions = [await worker.partitions() for worker in workers]
        groups = [await worker.groups() for worker in workers]
        for worker in workers:
            worker.process.require_alive()
        return (sum(partitions), sum(groups)) == (PARTITIONS, GROUPS) and all([*partitions, *groups])

    async def owned_by(self, *workers: Worker) -> None:
        """Wait until `all_owned_by`."""
        names = " and ".join(worker.name for worker in workers)
        await until(lambda: self.all_owned_by(*workers), f"{names} to share everything", LIMIT_S)

    async def drained(self, *loads: Load) -> None:
        """Wait until everything published is read, committed, folded and counted."""

        async def done() -> bool:
            return (
                await self.committed() == sum(load.acknowledged for load in loads)
                and await projected(self.database)
                and await uncounted(self.database) == 0
            )

        await until(done, "everything to be stored, folded and counted", 3 * LIMIT_S)

    async def committed(self) -> int:
        """How many records of the topic the group has done with."""
        offsets = await committed(self.bootstrap_servers, self.topic, GROUP, PARTITIONS)
        return sum(offsets.values())

    async def stop_all(self, *workers: Worker) -> list[int]:
        """SIGTERM to all at once; their exit codes."""
        return list(await asyncio.gather(*(worker.stop() for worker in workers)))

    async def wrong(self, *loads: Load, invariants: Collection[int] = ALL) -> list[Finding]:
        """What the oracle finds wrong, once everything is drained."""
        ledger = [entry for load in loads for entry in load.ledger]
        return await asyncio.to_thread(
            check, self.mongodb_uri, self.database.prefix, ledger, in_order=True, invariants=invariants
        )

    async def verified(self) -> Verification:
        """What the worker's own check says of a system at rest."""
        return await verify(self.database, quiescent=True)

    def _settings(self) -> dict[str, str]:
        """A crash is noticed soon, but not where a busy machine only makes a worker slow."""
        return {
            "SEVENP_MONGODB_URI": self.mongodb_uri,
            "SEVENP_DATABASE_PREFIX": self.database.prefix,
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SEVENP_KAFKA_GROUP_ID": GROUP,
            "SEVENP_TOPIC": self.topic,
            "SEVENP_ROLES": "ingest,progress,counts",
            "SEVENP_ALLOW_TEST_COMMANDS": "true",
            "SEVENP_SESSION_TIMEOUT_MS": "6000",
            "SEVENP_WATCH_LEASE_S": "6",
            "SEVENP_NOTIFY_WITHIN_HOURS": "800000",  # what happens there happened long ago
            "SEVENP_START_TIMEOUT_S": "120",
            "SEVENP_DRAIN_DEADLINE_S": "50",
        }


@asynccontextmanager
async def fleet(
    folder: Path, database: Database, mongodb_uri: str, bootstrap_servers: str
) -> AsyncIterator[Fleet]:
    """A fleet without workers on a fresh topic; whoever still runs at the end is killed."""
    topic = f"{database.prefix}-events"
    await create_topic(bootstrap_servers, topic, PARTITIONS)
    ours = Fleet(folder, database, mongodb_uri, bootstrap_servers, topic)
    try:
        yield ours
    finally:
        for worker in ours.workers:
            await worker.kill()  # also one that is stopped
