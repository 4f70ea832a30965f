"""Runs a job: once at a time, from its checkpoint, and so that it may be killed anywhere and started twice."""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from worker.errors import Retryable, WorkerError
from worker.jobs.context import JobContext, Observe, Parts, Progress
from worker.jobs.errors import TAKEN_OVER, Cancelled, LeaseLost
from worker.jobs.job import A, Job, Outcome
from worker.jobs.lease import RunLease, claim
from worker.storage import audit, job_runs
from worker.storage.job_leases import JobLease
from worker.storage.job_models import JobRun
from worker.storage.retrying import retrying
from worker.timing import Backoff, cancel_and_wait_shielded, complete

log = structlog.get_logger(__name__)


def _unseen(_progress: Progress) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Result:
    """A run that is done; `already` says that it was so before, and nothing was to do."""

    run: JobRun
    already: bool = False

    @property
    def outcome(self) -> Mapping[str, Any]:
        return self.run.outcome or {}


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs for `who`; `observe` is told of every step."""

    parts: Parts
    who: str
    observe: Observe = _unseen

    async def run(
        self,
        job: Job[A],
        arguments: A,
        *,
        interval: str | None = None,
        again: bool = False,
        dry_run: bool = False,
    ) -> Result:
        """Run it to its end, from where a former attempt of the same came to.

        1. a run of this interval that is done needs nothing, unless `again`  2. claim the lease  3. begin a run, or
        go on with the one that did not come to its end, and shut former owners out  4. write the audit's row
        5. work  6. save how it ended  7. give the lease back

        A process that is killed between any two of them leaves a run that goes on when it is started again. Raises
        `Held`, `Cancelled`, `LeaseLost`, and what the job raises.
        """
        asked = self._asked(job, arguments, interval, dry_run=dry_run)
        done = await self._done_before(asked, again=again)  # 1
        if done is not None:
            return Result(done, already=True)
        lease = await self._claim(asked)  # 2
        try:
            begun = await self._begin(asked, lease, again=again)  # 3
            if isinstance(begun, Result):
                return begun
            if job.changes and not dry_run:
                return await self._audited(job, arguments, begun, lease)  # 4
            return await self._worked(job, arguments, begun, lease)
        finally:
            with suppress(WorkerError, TimeoutError):
                await complete(lease.release())  # 7

    def _asked(self, job: Job[A], arguments: A, interval: str | None, *, dry_run: bool) -> dict[str, Any]:
        key = job.key(arguments, interval, dry_run=dry_run)
        return {
            "job": job.name,
            "key": key,
            # What only looks may run beside everything, but not twice at the same.
            "lock": job.alone(arguments, dry_run=dry_run) or key,
            "interval": interval,
            "arguments": arguments.model_dump(mode="json"),
            "selection": dict(arguments.selection),
            "dry_run": dry_run,
        }

    async def _done_before(self, asked: Mapping[str, Any], *, again: bool) -> JobRun | None:
        """The run of this interval that came to its end; what has no interval is done as often as it is asked for."""
        last = await job_runs.latest(self.parts.database, asked["key"])
        over = last is not None and last.status not in job_runs.UNFINISHED
        return last if over and asked["interval"] is not None and not again else None

    async def _claim(self, asked: Mapping[str, Any]) -> RunLease:
        settings = self.parts.settings.jobs
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        lease = JobLease(self.parts.database, asked["lock"], owner, settings.lease_s)
        last = await job_runs.latest(self.parts.database, asked["key"])
        number = 1 if last is None else last.number + (last.status not in job_runs.UNFINISHED)
        run = job_runs.run_id(asked["key"], number)
        return await claim(lease, settings, self.parts.clock, who=self.who, run=run)

    async def _begin(self, asked: Mapping[str, Any], lease: RunLease, *, again: bool) -> JobRun | Result:
        """The run to work on; a Result where somebody finished it while we waited for the lease."""
        database = self.parts.database
        done = await self._done_before(asked, again=again)
        if done is not None:
            return Result(done, already=True)
        await job_runs.shut_out(database, asked["lock"], lease.epoch)
        attempt = job_runs.Attempt(
            self.who, socket.gethostname(), os.getpid(), lease.epoch, self.parts.clock.now()
        )
        last = await job_runs.latest(database, asked["key"])
        if last is not None and last.status in job_runs.UNFINISHED:
            begun = await job_runs.go_on(database, attempt, last)
        else:
            begun = await job_runs.begin(database, attempt, asked, 1 if last is None else last.number + 1)
        if begun is None:
            raise LeaseLost(TAKEN_OVER)
        log.info("job_begun", job=begun.job, run=begun.id, attempt=begun.attempts)
        return begun

    async def _audited(self, job: Job[A], arguments: A, begun: JobRun, lease: RunLease) -> Result:
        asked = {**begun.arguments, **({"interval": begun.interval} if begun.interval else {})}
        async with audit.recorded(
            self.parts.database, command=job.name, who=self.who, arguments=asked, run=begun.id
        ) as row:
            result = await self._worked(job, arguments, begun, lease)
            row.outcome.update({**result.run.counts, **result.outcome})
            return result

    async def _worked(self, job: Job[A], arguments: A, begun: JobRun, lease: RunLease) -> Result:
        """Work, and save how it ended, whichever way."""
        try:
            outcome = await self._work(job, arguments, begun, lease)  # 5
        except LeaseLost:
            raise  # it is another process's run now
        except BaseException as error:
            with suppress(WorkerError, TimeoutError):
                await complete(self._end(begun, lease, _status(error), error=audit.told(error)))
            raise
        ending = retrying(
            partial(self._end, begun, lease, "succeeded", outcome=outcome),
            clock=self.parts.clock,
            on_retry=lambda error: log.warning("job_waits", run=begun.id, reason=str(error)),
        )
        return Result(await complete(ending, self.parts.settings.jobs.patience_s))  # 6

    async def _work(self, job: Job[A], arguments: A, begun: JobRun, lease: RunLease) -> Outcome:
        """The job's own work, while the lease is kept; what loses the lease ends the work at once."""
        working = asyncio.create_task(self._attempts(job, arguments, begun, lease))
        keeping = asyncio.create_task(lease.keep_renewing())
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                keeping.result()
            return await working
        finally:
            await cancel_and_wait_shielded(working, keeping)

    async def _attempts(self, job: Job[A], arguments: A, begun: JobRun, lease: RunLease) -> Outcome:
        """Call the job until it returns: where a dependency is away, again from its checkpoint.

        Without a step for `patience_s` the error is raised.
        """
        parts, context = self.parts, JobContext(self.parts, begun, lease, self.observe)
        backoff = Backoff(parts.clock, lambda: None)
        saved, moved_at = 0, parts.clock.monotonic()
        while True:
            try:
                return dict(await job.run(context, arguments) or {})
            except Retryable as error:
                if context.saved > saved:
                    saved, moved_at = context.saved, parts.clock.monotonic()
                    backoff.reset()
                if parts.clock.monotonic() - moved_at > parts.settings.jobs.patience_s:
                    raise
                log.warning("job_waits", job=job.name, run=begun.id, reason=str(error))
            await backoff.wait(asyncio.Event())

    async def _end(
        self,
        begun: JobRun,
        lease: RunLease,
        status: str,
        *,
        outcome: Outcome | None = None,
        error: str | None = None,
    ) -> JobRun:
        fields = {"status": status, "outcome": outcome, "error": error, "request": None}
        if not await job_runs.end(self.parts.database, begun.id, lease.epoch, fields):
            raise LeaseLost(TAKEN_OVER)
        ended = await job_runs.find_run(self.parts.database, begun.id)
        return ended if isinstance(ended, JobRun) else begun


def _status(error: BaseException) -> str:
    """What a run is whose work ended with this error."""
    if isinstance(error, Cancelled):
        return "cancelled"
    return "stopped" if isinstance(error, asyncio.CancelledError | Retryable) else "failed"
