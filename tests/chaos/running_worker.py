"""A worker with all roles in a process of its own, on servers that a test breaks; and what it says meanwhile."""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.chaos.target import committed, projected, uncounted
from tests.support.ingest import records, send
from tests.support.waiting import until
from tests.support.worker_process import fetch
from worker.devstack.servers.process import ServerProcess, free_port, spawn
from worker.storage.database import Database

PARTITIONS = 4
# Between two batches: events flow, and what was published while the worker waited is soon caught up.
PAUSE_S = 0.3
_SAMPLE = re.compile(r"^sevenp_worker_(\w+?)(?:\{(.*)\})? ([^ ]+)$", re.MULTILINE)
_NOTHING: Mapping[str, str] = MappingProxyType({})


def settings(mongodb_uri: str, database: Database, kafka: str, topic: str) -> dict[str, str]:
    """All roles, small batches, short leases; over them go a test's own settings."""
    return {
        "SEVENP_MONGODB_URI": mongodb_uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_KAFKA_GROUP_ID": f"group-{topic}",
        "SEVENP_TOPIC": topic,
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_INGEST_MAX_RECORDS": "100",
        "SEVENP_WATCH_LEASE_S": "5",
        "SEVENP_NOTIFY_WITHIN_HOURS": "800000",  # what happens there happened long ago
        "SEVENP_HTTP_PORT": str(free_port()),
    }


@dataclass(frozen=True, slots=True)
class RunningWorker:
    """A worker that runs. Reading its metrics never fails: an absent sample counts as 0."""

    process: ServerProcess
    url: str
    group: str
    topic: str

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody answers."""
        return await asyncio.to_thread(fetch, f"{self.url}/{path}")

    async def samples(self) -> list[tuple[str, str, float]]:
        """(name without prefix, labels as exported, value) of every series."""
        found = _SAMPLE.findall((await self.get("metrics"))[1])
        return [(name, labels, float(value)) for name, labels, value in found]

    async def sum(self, name: str, *having: str) -> float:
        """Sum of a metric's series whose labels hold all of `having`."""
        return sum(
            value
            for found, labels, value in await self.samples()
            if found == name and all(part in labels for part in having)
        )

    async def until_status(self, path: str, status: int) -> None:
        async def says() -> bool:
            self.process.require_alive()
            return (await self.get(path))[0] == status

        await until(says, f"/{path} answers {status}")

    async def stays_alive(self, seconds: float) -> None:
        """Let time pass; /livez must say 200 at every moment of it."""
        end = time.monotonic() + seconds

        async def over() -> bool:
            self.process.require_alive()
            status, body = await self.get("livez")
            assert status == 200, body
            return time.monotonic() >= end

        await until(over, "time passes", seconds + 60)

    async def until_processed(self, count: int) -> None:
        async def reached() -> bool:
            self.process.require_alive()
            return await self.sum("events_processed_total") >= count

        await until(reached, f"{count} records processed")

    async def until_quiescent(self, database: Database, kafka: str, count: int) -> None:
        """Wait until `count` records are committed, folded and counted."""

        async def quiescent() -> bool:
            self.process.require_alive()
            read = sum((await committed(kafka, self.topic, self.group, PARTITIONS)).values())
            return read == count and await projected(database) and not await uncounted(database)

        await until(quiescent, f"{count} records stored, folded and counted")


@asynccontextmanager
async def started(
    environment: Mapping[str, str], log: Path, name: str = "worker"
) -> AsyncIterator[RunningWorker]:
    """A worker that is ready; the test ends it, or it is ended with the block."""
    process = spawn(name, [sys.executable, "-m", "worker", "run"], log, environment)
    url = f"http://127.0.0.1:{environment['SEVENP_HTTP_PORT']}"
    worker = RunningWorker(process, url, environment["SEVENP_KAFKA_GROUP_ID"], environment["SEVENP_TOPIC"])
    try:
        await worker.until_status("readyz", 200)
        yield worker
    finally:
        await asyncio.to_thread(process.stop, 1.0)


@asynccontextmanager
async def working(
    environment: Mapping[str, str], log: Path, name: str = "worker"
) -> AsyncIterator[RunningWorker]:
    """A worker that is told to stop at the end, and must drain then."""
    async with started(environment, log, name) as worker:
        yield worker
        worker.process.popen.terminate()
        await until(lambda: worker.process.returncode is not None, "the worker has drained")
        assert worker.process.returncode == 0, worker.process.log_tail()


@asynccontextmanager
async def flowing(
    kafka: str, topic: str, make: Callable[[], Sequence[Mapping[str, Any]]]
) -> AsyncIterator[list[Mapping[str, Any]]]:
    """Publish what `make` makes, again and again, for as long as the block lasts; gives all that was published."""
    published: list[Mapping[str, Any]] = []
    over = asyncio.Event()

    async def publish() -> None:
        while not over.is_set():
            events = make()
            await send(kafka, topic, records(events))
            published.extend(events)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PAUSE_S)

    publishing = asyncio.create_task(publish())
    try:
        yield published
    finally:
        over.set()
        await publishing
