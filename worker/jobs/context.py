"""What a run sees of its runner: the stores, where its last attempt came to, and how it tells where it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog

from worker.errors import WorkerError
from worker.jobs.errors import TAKEN_OVER, Cancelled, LeaseLost
from worker.jobs.interval import Interval, parse_interval
from worker.jobs.lease import RunLease
from worker.jobs.throttle import Gate, LiveFirst
from worker.settings import Settings
from worker.storage import job_runs
from worker.storage.database import Database
from worker.storage.job_models import JobRequest, JobRun
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import UNTRACED, Attributes, Tracing
from worker.timing import Clock

log = structlog.get_logger(__name__)


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
    """What every run is given: stores, settings, time, metrics; a `gate` instead of the one the settings make.

    Each step of a run is a span of `tracing`.
    """

    database: Database
    settings: Settings
    clock: Clock
    metrics: Metrics
    gate: Gate | None = None
    tracing: Tracing = UNTRACED

    def opened_gate(self) -> Gate:
        """What a run passes after each of its steps."""
        return self.gate or LiveFirst(self.database, self.settings.jobs, self.clock)


class JobContext:
    """The runner as its run sees it. May be used by several tasks of the run at once.

    After `Cancelled` or `LeaseLost` the run ends at once: it catches neither, and writes nothing more.
    """

    def __init__(self, parts: Parts, run: JobRun, lease: RunLease, observe: Observe) -> None:
        self.database: Database = parts.database
        self.settings: Settings = parts.settings
        self.clock: Clock = parts.clock
        self.metrics: Metrics = parts.metrics
        self.dry_run: bool = run.dry_run
        self.run_id: str = run.id
        self.started_at: datetime = run.started_at
        self.interval: Interval | None = parse_interval(run.interval) if run.interval else None
        self._lock, self._lease, self._observe = run.lock, lease, observe
        self._gate = parts.opened_gate()
        self._tracing, self._attributes = parts.tracing, {"sevenp.job": run.job, "sevenp.run": run.id}
        self._step_began = parts.clock.now()
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
            await self._save(replace(self._progress, total=steps), self._checkpoint)

    async def advance(self, steps: int, checkpoint: Mapping[str, Any], **counts: int) -> None:
        """Save that so many more steps are done, where to go on, and what to add to each count; then wait if need be.

        Call it when everything up to `checkpoint` has its effect: an attempt that follows begins there. It returns
        when nobody wants the run to pause and live work is not behind. Raises Retryable while the server is away:
        nothing, or perhaps all of it, was saved then.
        """
        async with self._one_at_a_time:
            now = self._progress
            added = {name: now.counts.get(name, 0) + number for name, number in counts.items()}
            await self._lease.keep()
            progress = Progress(now.done + steps, now.total, {**now.counts, **added})
            asked = await self._save(progress, dict(checkpoint))
            self._trace(steps)
            await self._heed(asked)
            self._step_began = self.clock.now()

    async def ready(self) -> None:
        """Return when the run may go on, without a step: for the runner, before it calls the job."""
        async with self._one_at_a_time:
            await self._heed(await self.asked())

    async def keep_alive(self) -> None:
        """Raises LeaseLost when another process has the run. Call it before the writes of a long step."""
        await self._lease.keep()

    @asynccontextmanager
    async def transactions(self) -> AsyncIterator[Transactions]:
        """A session for one transaction after another, noted in the run while transactions may be open.

        What a killed attempt at a job of the same lock left open is ended before: it would hold its documents for a
        minute, and live counting with them. Raises Cancelled or LeaseLost once the run is not ours any more.
        """
        transactions, over = Transactions(self.database.client), None
        try:
            for former in await job_runs.sessions(self.database, self._lock):
                if (refused := await transactions.end_elsewhere(former)) is not None:
                    log.warning("job_transaction_left_to_expire", run=self.run_id, reason=refused)
            own = await transactions.session_id()
            if not await job_runs.note_session(
                self.database, self._lock, self.run_id, self._lease.epoch, own
            ):
                raise await self._not_ours()
            yield transactions
            over = own
        finally:
            await transactions.close()
            if over is not None:
                # The driver gives it to whoever asks next. Where the note stays, that one may have to begin anew.
                with suppress(WorkerError):
                    await job_runs.forget_session(self.database, self.run_id, self._lease.epoch, over)

    async def asked(self) -> JobRequest | None:
        """What somebody asks of the run now. Raises Cancelled or LeaseLost once it is not ours any more."""
        looked = await job_runs.look(self.database, self.run_id, self._lease.epoch)
        if looked is None:
            raise await self._not_ours()
        return looked.request

    async def _save(self, progress: Progress, checkpoint: Mapping[str, Any] | None) -> JobRequest | None:
        fields = {
            "checkpoint": checkpoint,
            "progress": {"done": progress.done, "total": progress.total},
            "counts": dict(progress.counts),
        }
        self._number += 1
        saved = await job_runs.save(self.database, self.run_id, self._lease.epoch, self._number, fields)
        if saved is None:
            raise await self._not_ours()
        self._saved += 1
        self._progress, self._checkpoint = progress, checkpoint
        self._observe(progress)
        return saved.request

    def _trace(self, steps: int) -> None:
        attributes: Attributes = {**self._attributes, "sevenp.steps": steps}
        self._tracing.record("job step", attributes, self._step_began, self.clock.now())

    async def _heed(self, request: JobRequest | None) -> None:
        """Do what is asked of the run, and let live work pass."""
        waited = False
        while (waits := await self._why_to_wait(request)) is not None:
            waited = True
            self._observe(replace(self._progress, waits=waits))
            await self.clock.sleep(self.settings.jobs.look_every_s)
            await self._lease.keep()
            request = await self.asked()
        if waited:
            self._observe(self._progress)

    async def _why_to_wait(self, request: JobRequest | None) -> str | None:
        if request is None:
            return await self._gate.closed()
        if request.what == "cancel":
            raise Cancelled(cancelled_by(request.who))
        return f"paused by {request.who}; `sevenp-worker jobs resume {self.run_id}` lets it go on"

    async def _not_ours(self) -> Cancelled | LeaseLost:
        run = await job_runs.find_run(self.database, self.run_id)
        cancelled = isinstance(run, JobRun) and run.status == "cancelled"
        return Cancelled(run.error or "cancelled") if cancelled else LeaseLost(TAKEN_OVER)  # type: ignore[union-attr]


def cancelled_by(who: str) -> str:
    """How a run says that it was cancelled."""
    return f"cancelled by {who}"
