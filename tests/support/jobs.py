"""Jobs of the tests' own, their runner, and documents of runs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from tests.support.settings import changed
from worker.jobs.context import JobContext, Observe, Parts, Progress
from worker.jobs.job import Job, JobArguments
from worker.jobs.runner import Runner
from worker.settings import load_settings
from worker.storage.database import Database, Document
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)


def job_run(key: str, number: int) -> Document:
    """A document of `job_runs` as a runner writes it: begun, and nothing done yet."""
    return {
        "_id": f"{key}-{number}",
        "job": key,
        "key": key,
        "number": number,
        "lock": key,
        "interval": None,
        "arguments": {},
        "selection": {},
        "dry_run": False,
        "status": "running",
        "who": "anna@ops-1",
        "host": "ops-1",
        "process": 4711,
        "epoch": 1,
        "attempts": 1,
        "saves": 0,
        "started_at": NOON,
        "attempted_at": NOON,
        "saved_at": NOON,
        "finished_at": None,
        "checkpoint": None,
        "progress": {"done": 0, "total": None},
        "counts": {},
        "outcome": None,
        "error": None,
        "request": None,
    }


class CountArguments(JobArguments):
    """How far a job of the tests counts."""

    to: int = 5
    name: str = "one"


@dataclass(slots=True)
class Counting:
    """A job that counts: each number is a step, and stands in `counted` once it was reached.

    Before step `stops_at` it sets `stopped` and waits for `go_on`.
    """

    stops_at: int | None = None
    changes: bool = True
    counted: list[int] = field(default_factory=list)
    began_at: list[int] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    @property
    def job(self) -> Job[CountArguments]:
        """What the runner is given."""
        return Job("count", CountArguments, self._run, changes=self.changes)

    async def _run(self, context: JobContext, arguments: CountArguments) -> Mapping[str, JsonValue]:
        begin = int((context.checkpoint or {"next": 0})["next"])
        self.began_at.append(begin)
        await context.total(arguments.to)
        for number in range(begin, arguments.to):
            if number == self.stops_at and not self.go_on.is_set():
                self.stopped.set()
                if self.error is not None:
                    raise self.error
                await self.go_on.wait()
            self.counted.append(number)
            await context.advance(1, {"next": number + 1}, counted=1)
        return {"reached": arguments.to}


def parts(database: Database, **jobs: Any) -> Parts:
    """What runs are given; `jobs` are other values of that group of settings."""
    settings = load_settings()
    settings = settings.model_copy(update={"jobs": changed(settings.jobs, **jobs)})
    return Parts(database, settings, SystemClock(), Metrics())


def _unseen(_progress: Progress) -> None:
    pass


def runner(database: Database, who: str = "anna@ops-1", observe: Observe = _unseen, **jobs: Any) -> Runner:
    """A runner as a process has one."""
    return Runner(parts(database, **jobs), who, observe)
