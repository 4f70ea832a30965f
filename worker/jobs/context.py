"""What a run sees of its runner: the stores, where its last attempt came to, and how it tells where it is."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.jobs.errors import TAKEN_OVER, LeaseLost
from worker.jobs.lease import RunLease
from worker.settings import Settings
from worker.storage import job_runs
from worker.storage.database import Database
from worker.storage.job_models import JobRun
from worker.telemetry.metrics import Metrics
from worker.timing import Clock


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come; `total` is None while nobody has counted, `waits` says why it stands still."""

    done: int = 0
    total: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    waits: str | None = None


Observe = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What every run is given: stores, settings, time and metrics."""

    database: Database
    settings: Settings
    clock: Clock
    metrics: Metrics


class JobContext:
    """The runner as its run sees it. May be used by several tasks of the run at once.

    After `Cancelled` or `LeaseLost` the run ends at once: it catches neither, and writes nothing more.
    """

    def __init__(self, parts: Parts, run: JobRun, lease: RunLease, observe: Observe) -> None:
        self.database = parts.database
        self.settings = parts.settings
        self.clock = parts.clock
        self.metrics = parts.metrics
        self.dry_run = run.dry_run
        self.run_id = run.id
        self.interval = run.interval
        self._lease = lease
        self._observe = observe
        self._one_at_a_time = asyncio.Lock()
        self._number = run.saves
        self._saved = 0
        self._checkpoint: Mapping[str, Any] | None = run.checkpoint
        self._progress = Progress(run.progress.done, run.progress.total, dict(run.counts))
        self._observe(self._progress)

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """Where this run has come to, as it was saved last, by this attempt or the one before; None at the start."""
        return self._checkpoint

    @property
    def progress(self) -> Progress:
        """How far it has come, as it was saved last."""
        return self._progress

    @property
    def saved(self) -> int:
        """How often this process has saved it."""
        return self._saved

    async def total(self, steps: int | None) -> None:
        """Tell how many steps there are in all, those of former attempts included; None if nobody knows."""
        async with self._one_at_a_time:
            await self._save(Progress(self._progress.done, steps, self._progress.counts), self._checkpoint)

    async def advance(self, steps: int, checkpoint: Mapping[str, Any], **counts: int) -> None:
        """Save that so many more steps are done, where to go on, and what to add to each count.

        Call it when everything up to `checkpoint` has its effect: an attempt that follows begins there. Raises
        Retryable while the server is away: nothing, or perhaps all of it, was saved then.
        """
        async with self._one_at_a_time:
            now = self._progress
            added = {name: now.counts.get(name, 0) + number for name, number in counts.items()}
            await self._lease.keep()
            await self._save(Progress(now.done + steps, now.total, {**now.counts, **added}), dict(checkpoint))

    async def keep_alive(self) -> None:
        """Raises LeaseLost when another process has the run. Call it before the writes of a long step."""
        await self._lease.keep()

    async def _save(self, progress: Progress, checkpoint: Mapping[str, Any] | None) -> None:
        fields = {
            "checkpoint": checkpoint,
            "progress": {"done": progress.done, "total": progress.total},
            "counts": dict(progress.counts),
        }
        self._number += 1
        saved = await job_runs.save(self.database, self.run_id, self._lease.epoch, self._number, fields)
        if saved is None:
            raise LeaseLost(TAKEN_OVER)
        self._saved += 1
        self._progress, self._checkpoint = progress, checkpoint
        self._observe(progress)
