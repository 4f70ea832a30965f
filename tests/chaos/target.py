"""The worker under test as a child process of the launcher, and what can be seen of it from outside."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.chaos.fault_injector import Crash
from tests.chaos.launcher import CRASHES_VARIABLE, POINT_VARIABLE
from tests.support.kafka import durable
from tests.support.waiting import until
from tests.support.worker_pool import WorkerPool, shared_pool
from worker.devstack.servers.process import ServerProcess
from worker.storage.database import Database
from worker.storage.driver import aggregate
from worker.verify.run import verify


@dataclass(frozen=True, slots=True)
class TargetWorker:
    """Starts workers that share one configuration: from a pool of their own, or from that of this process."""

    folder: Path
    settings: Mapping[str, str]
    pool: WorkerPool | None = None

    def start(
        self,
        point: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        name: str = "target",
        arguments: Sequence[str] = ("run",),
    ) -> ServerProcess:
        """A worker, or another command, killed at `point` if there is one; `settings` go over the common ones."""
        environment = {**self.settings, **settings, CRASHES_VARIABLE: str(self._crashes)}
        if point is not None:
            environment[POINT_VARIABLE] = point
        pool = self.pool or shared_pool()
        log = self.folder / f"{name}.log"
        return pool.start(name, log, environment, arguments, module="tests.chaos.launcher")

    def crashes(self) -> list[Crash]:
        """What all workers wrote down before they were killed."""
        if not self._crashes.exists():
            return []
        return [Crash(**json.loads(line)) for line in self._crashes.read_text(encoding="utf-8").splitlines()]

    async def killed_at(self, point: str) -> int:
        """Run a worker until it is gone; its exit code."""
        process = self.start(point)
        try:
            await until(lambda: process.returncode is not None, f"the crash {point}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log says:\n{process.log_tail()}") from None
        finally:
            await asyncio.to_thread(process.stop)
        return process.popen.returncode

    @property
    def _crashes(self) -> Path:
        return self.folder / "crashes.jsonl"


async def committed(bootstrap_servers: str, topic: str, group: str, partitions: int) -> dict[str, int]:
    """The group's next offset to read by `topic:partition`, 0 where it has none; asked without joining it."""
    offsets = await durable(bootstrap_servers, topic, partitions, group)
    return {f"{topic}:{number}": offset or 0 for number, offset in enumerate(offsets)}


async def projected(database: Database) -> bool:
    """Whether every stored version is folded."""
    return await unfolded(database) == 0


async def unfolded(database: Database) -> int:
    """Stored versions that no document holds, of any stream projection.

    A stream that has no document, and may rightly have none yet, is left out: `waiting` tells these apart.
    """
    highest: list[Mapping[str, Any]] = [
        {"$sort": {"stream_id": -1, "version": -1}},
        {"$group": {"_id": "$stream_id", "version": {"$first": "$version"}}},
    ]
    heads = {row["_id"]: int(row["version"]) for row in await aggregate(database.course_events, highest)}
    behind = 0
    for projection in database.catalogue.streams:
        documents = database.collection(projection.target.collection).find({}, {"stream_id": 1, "version": 1})
        folded = {each.get("stream_id"): int(each.get("version", 0)) async for each in documents}
        for stream, head in heads.items():
            if projection.folds(stream) and (stream in folded or projection.begun is None):
                behind += max(0, head - folded.get(stream, 0))
    return behind


async def uncounted(database: Database) -> int:
    """What waits to be counted, or for what follows from that: `uncounted_records`, or else what `verify` says."""
    return await uncounted_records(database) or await waiting(database)


async def uncounted_records(database: Database) -> int:
    """Progress documents that were not counted as they stand: a quick look at most of what may wait."""
    rows = await aggregate(
        database.user_progress,
        [
            {
                "$lookup": {
                    "from": database.user_progress_projections.name,
                    "localField": "_id",
                    "foreignField": "_id",
                    "as": "counted",
                }
            },
            {"$match": {"$expr": {"$ne": ["$rev", {"$first": "$counted.source_rev"}]}}},
            {"$count": "count"},
        ],
    )
    return int(rows[0]["count"]) if rows else 0


async def waiting(database: Database) -> int:
    """Documents of any projection that are behind what they follow from, as `verify` sees them.

    Folded, counted, shown or decided: statistics and what an instructor's courses add up to follow in transactions of
    their own.
    """
    seen = await verify(database, quiescent=True)
    return seen.counts["statistics_missing"] + sum(each.behind for each in seen.by_projection.values())
