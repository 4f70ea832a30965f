"""The worker under test as a child process of the launcher, and what can be seen of it from outside."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from projections.counts import social_proof, teaching_in
from projections.counts.statistics import instructor_of
from projections.counts.teaching import INSTRUCTORS_COLLECTION
from tests.chaos.fault_injector import Crash
from tests.chaos.launcher import CRASHES_VARIABLE, POINT_VARIABLE
from tests.support.kafka import durable
from tests.support.waiting import until
from tests.support.worker_pool import WorkerPool, shared_pool
from worker.devstack.servers.process import ServerProcess
from worker.storage.database import Database
from worker.storage.driver import aggregate


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
    """Stored versions that no document holds, of any stream projection; versions are dense, so sums decide."""
    total: list[Mapping[str, Any]] = [
        {"$match": {"stream_id": {"$exists": True}}},
        {"$group": {"_id": None, "versions": {"$sum": "$version"}}},
    ]
    waiting = 0
    for projection in database.catalogue.streams:
        kind = "_".join(f"{entity}_[0-9a-f]{{24}}" for entity in projection.about)
        stored = await database.course_events.count_documents({"stream_id": {"$regex": f"^{kind}$"}})
        folded = await aggregate(database.collection(projection.target.collection), total)
        waiting += max(0, stored - int(folded[0]["versions"] if folded else 0))
    return waiting


async def uncounted(database: Database) -> int:
    """Progress documents that were not counted as they stand, and courses that wait for what follows from them."""
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
    return (int(rows[0]["count"]) if rows else 0) + await _unproven(database)


async def _unproven(database: Database) -> int:
    """Courses that do not show yet what their instructor's add up to: it follows in a transaction of its own."""
    kept = [row async for row in database.collection(INSTRUCTORS_COLLECTION).find({})]
    proofs = {
        row["_id"]: social_proof(teaching) for row in kept if (teaching := teaching_in(row)) is not None
    }
    courses = database.courses.find({"instructor": {"$type": "object"}})
    taught = [(instructor_of(course), course["instructor"]) async for course in courses]
    return sum(
        instructor in proofs and shown.get("social_proof") != proofs[instructor]
        for instructor, shown in taught
    )
