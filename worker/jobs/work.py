"""One attempt at a run: the job is called until it returns, its lease is kept meanwhile, how it ended is saved."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic

import structlog

from worker.errors import Retryable, WorkerError
from worker.jobs.context import JobContext, Observe, Parts, Progress, cancelled_by
from worker.jobs.errors import TAKEN_OVER, Cancelled, LeaseLost
from worker.jobs.job import A, Job, Outcome
from worker.jobs.lease import RunLease
from worker.storage import audit, job_runs
from worker.storage.job_models import JobRun
from worker.storage.retrying import retrying
from worker.telemetry.waits import Wait
from worker.timing import Backoff, cancel_and_wait_shielded, complete

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work(Generic[A]):
    """An attempt at `run`, under a lease that was claimed for it."""

    parts: Parts
    observe: Observe
    job: Job[A]
    arguments: A
    run: JobRun
    lease: RunLease

    async def to_its_end(self) -> JobRun:
        """Work, and save how it ended, whichever way. Raises `Cancelled`, `LeaseLost`, and what the job raises."""
        try:
            outcome = await self._work()
        except BaseException as error:
            worst = _worst(error)
            if not isinstance(worst, LeaseLost):  # else it is another process's run now
                with suppress(WorkerError, TimeoutError):
                    await complete(self._end(_status(worst), error=audit.told(worst)))
            if worst is error:
                raise
            raise worst from error
        wait = Wait(log, self.parts.clock, "job_waits", job=self.job.name, run=self.run.id)
        end = partial(self._end, "succeeded", outcome=outcome)
        ending = retrying(end, clock=self.parts.clock, on_retry=wait.failed)
        ended = await complete(ending, self.parts.settings.jobs.patience_s)
        wait.over()
        return ended

    async def _work(self) -> Outcome:
        """The job's own work, while the lease is kept; what loses the lease ends the work at once."""
        wait = Wait(log, self.parts.clock, "job_waits", job=self.job.name, run=self.run.id)
        context = JobContext(self.parts, self.run, self.lease, partial(self._moved, wait))
        working = asyncio.create_task(self._attempts(context, wait))
        watching = asyncio.create_task(self._watch(context))
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                watching.result()
            return await working
        finally:
            await cancel_and_wait_shielded(working, watching)

    def _moved(self, wait: Wait, progress: Progress) -> None:
        """A step was saved: whatever was waited for is back."""
        wait.over()
        self.observe(progress)

    async def _attempts(self, context: JobContext, wait: Wait) -> Outcome:
        """Call the job until it returns: where a dependency is away, again from its checkpoint.

        After `patience_s` of failures without a step between them the error is raised.
        """
        clock, patience_s = self.parts.clock, self.parts.settings.jobs.patience_s
        backoff = Backoff(clock, lambda: None)
        saved, failing_since = -1, 0.0
        while True:
            try:
                await context.ready()
                return dict(await self.job.run(context, self.arguments) or {})
            except (Retryable, BaseExceptionGroup) as error:
                worst = _worst(error)
                if not isinstance(worst, Retryable):
                    raise
                if context.saved > saved:
                    saved, failing_since = context.saved, clock.monotonic()
                    backoff.reset()
                if clock.monotonic() - failing_since > patience_s:
                    raise
                wait.failed(worst)
            await backoff.wait(asyncio.Event())

    async def _watch(self, context: JobContext) -> None:
        """Keep the lease until cancelled. A step that does not end after somebody cancelled the run is cut off."""
        clock, settings = self.parts.clock, self.parts.settings.jobs
        wait = Wait(log, clock, "job_lease_not_renewed", job=self.job.name, run=self.run.id)
        cancelled_at: float | None = None
        while True:
            await clock.sleep(settings.renew_every_s)
            try:
                await self.lease.keep()
                request = await context.asked()
            except Retryable as error:
                wait.failed(error)
                continue
            wait.over()
            if request is None or request.what != "cancel":
                continue
            cancelled_at = clock.monotonic() if cancelled_at is None else cancelled_at
            if clock.monotonic() - cancelled_at >= settings.lease_s:
                raise Cancelled(cancelled_by(request.who))

    async def _end(
        self, status: job_runs.Ended, *, outcome: Outcome | None = None, error: str | None = None
    ) -> JobRun:
        fields = {"status": status, "outcome": outcome, "error": error, "request": None}
        ended = await job_runs.end(self.parts.database, self.run.id, self.lease.epoch, fields)
        if ended is None:
            raise LeaseLost(TAKEN_OVER)
        log.info("job_ended", job=self.job.name, run=self.run.id, status=status)
        return ended


def _status(error: BaseException) -> job_runs.Ended:
    """What a run is whose work ended with this error."""
    if isinstance(error, Cancelled):
        return "cancelled"
    return "stopped" if isinstance(error, asyncio.CancelledError | Retryable) else "failed"


def _worst(error: BaseException) -> BaseException:
    """Of errors that several tasks of a job ended with, the one that decides: what is waited for comes last."""
    ranks = (LeaseLost, Cancelled)
    return min(
        _single(error),
        key=lambda each: next(
            (rank for rank, kind in enumerate(ranks) if isinstance(each, kind)),
            len(ranks) + isinstance(each, Retryable),
        ),
    )


def _single(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error
