"""A whole system of a trial's own: MongoDB, Kafka where it is asked for, a worker that follows, and a history."""

import asyncio
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import usage
from tests.support.progress import highest_versions
from tests.support.trials.commands import Commands, Ended
from tests.support.trials.history import History
from tests.support.waiting import until
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import start_mongod
from worker.devstack.servers.topics import create_topic
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.storage import driver
from worker.storage.database import Database, make_client, open_database
from worker.storage.schema import apply_schema

LIMIT_S = 1_800.0
"""A page of learners is folded in seconds; a whole history in minutes."""
KILLED = -signal.SIGKILL
"""The code of a command that was killed."""
_PREFIX = "trial"
_PARTITIONS = 4
# Of the documents of a trial, and of what is read beside them: mongod itself would take half of the memory.
_CACHE_GB = 4.0
_SETTINGS = {
    "SEVENP_DATABASE_PREFIX": _PREFIX,
    # What was killed goes on soon.
    "SEVENP_JOBS_LEASE_S": "2",
    "SEVENP_NOTIFY_WITHIN_HOURS": "1",
}


@dataclass(frozen=True, slots=True)
class System:
    """What a trial works on; `processes` are its servers by name."""

    database: Database
    commands: Commands
    worker: WorkerProbe
    history: History
    processes: Mapping[str, int]

    def cpu_s(self) -> Mapping[str, float]:
        """Seconds of CPU that each server, and the trial itself, has taken."""
        return {name: usage(pid).cpu_s for name, pid in {**self.processes, "trial": os.getpid()}.items()}

    async def quiesce(self) -> dict[str, int]:
        """Wait until every document, and what is counted of it, has all of its events; returns the versions.

        What is counted is small and read first: it is never ahead of the documents.
        """
        heads = await highest_versions(self.database)
        total = sum(heads.values())

        async def current() -> bool:
            self.worker.require_alive()
            return (
                await _sum(self.database, "user_progress_projections", "last_event_version") == total
                and await _sum(self.database, "user_progress", "version") == total
                and await _uncounted(self.database) == 0
            )

        await until(current, "everything folded and counted", LIMIT_S)
        return heads

    async def command(
        self, *arguments: str, kill_after_s: float | None = None, kill: threading.Event | None = None
    ) -> Ended:
        """A command to its end, or for so long, or until somebody sets `kill`."""
        return await asyncio.to_thread(self.commands.run, *arguments, kill_after_s=kill_after_s, kill=kill)


@contextlib.asynccontextmanager
async def system(
    history: History,
    settings: Mapping[str, str],
    *,
    topics: Sequence[str] = (),
    before: Callable[[Database], Awaitable[None]] | None = None,
) -> AsyncIterator[System]:
    """Everything that a trial needs, in a folder that is gone afterwards; with a broker where there are `topics`.

    `before` stores what is there before the worker starts: its documents are then written once.
    """
    with tempfile.TemporaryDirectory(prefix="trial-") as name:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            mongod = await start_mongod(folder, cache_gb=_CACHE_GB)
            stack.callback(mongod.stop)
            processes = {"mongod": mongod.process.pid}
            environment = {**_SETTINGS, "SEVENP_MONGODB_URI": mongod.uri, **settings}
            if topics:
                broker = await start_broker(folder / "kafka")
                stack.callback(broker.stop)
                processes["kafka"] = broker.process.pid
                environment["SEVENP_KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
                for topic in topics:
                    await create_topic(broker.bootstrap_servers, topic, partitions=_PARTITIONS)
            client = make_client(mongod.uri)
            stack.push_async_callback(driver.close, client)
            database = open_database(client, _PREFIX)
            await apply_schema(database)
            await history.store_platform(database)
            if before is not None:
                await before(database)
            worker = start_worker(folder, environment)
            if worker.process is not None:
                stack.callback(worker.process.stop)
                processes["worker"] = worker.process.pid
            yield System(database, Commands(folder, environment), worker, history, processes)


async def _sum(database: Database, collection: str, path: str) -> int:
    total = [{"$group": {"_id": None, "sum": {"$sum": f"${path}"}}}]
    found = await driver.aggregate(database.collection(collection), total)
    return int(found[0]["sum"]) if found else 0


async def _uncounted(database: Database) -> int:
    """How many revisions of documents were not counted yet."""
    counted = await _sum(database, "user_progress_projections", "source_rev")
    return await _sum(database, "user_progress", "rev") - counted
