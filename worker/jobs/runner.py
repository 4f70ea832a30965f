"""Runs a job: once at a time, from its checkpoint, and so that it may be killed anywhere and started twice."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import structlog

from worker.errors import Misconfigured, WorkerError
from worker.jobs.context import Observe, Parts, Progress
from worker.jobs.errors import TAKEN_OVER, LeaseLost
from worker.jobs.interval import parse_interval
from worker.jobs.job import A, Job
from worker.jobs.lease import RunLease, claim
from worker.jobs.unended_rows import end_rows_by_their_runs
from worker.jobs.work import Work
from worker.storage import audit, job_runs
from worker.storage.job_leases import Lease
from worker.storage.job_models import JobRun
from worker.storage.retrying import retrying_for
from worker.telemetry.waits import Wait
from worker.timing import complete

T = TypeVar("T")

log = structlog.get_logger(__name__)


def _unseen(_what: Progress) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Former:
    """The attempt before at a run that goes on: whose it was; when the run was begun, and how far it had come."""

    who: str
    since: datetime
    done: int


def _unheard(_run: JobRun, _former: Former | None) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Result:
    """A run that is done; `already` says that it was so before, and nothing was to do.

    `former` is there where it was no new run that was done now. `unnoted` says what the audit could not be told.
    """

    run: JobRun
    already: bool = False
    former: Former | None = None
    unnoted: str | None = None

    @property
    def outcome(self) -> Mapping[str, Any]:
        return self.run.outcome or {}


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs for `who`; `begun` is told which run is worked on, and who did before, `observe` of every step."""

    parts: Parts
    who: str
    observe: Observe = _unseen
    begun: Callable[[JobRun, Former | None], None] = _unheard

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
        `Held`, `Cancelled`, `LeaseLost`, `Misconfigured` for an interval that is none, or a dry run of a job that has
        none, and what the job raises.
        """
        asked = self._asked(job, arguments, _one_spelling(interval), dry_run=dry_run)
        done = await self._with_retry(partial(self._done_before, asked, again=again))  # 1
        if done is not None:
            return Result(done, already=True)
        lease = await self._with_retry(partial(self._claim, self._lease(asked["lock"]), asked["key"]))  # 2
        failed: str | None = None
        try:
            begun = await self._with_retry(partial(self._begin, asked, lease, again=again))  # 3
            if isinstance(begun, Result):
                return begun
            run, former = begun
            work = Work(self.parts, self.observe, job, arguments, run, lease)  # 5, 6
            if job.changes and not dry_run:
                return await self._audited(work, former)  # 4
            return Result(await work.to_its_end(), former=former)
        except BaseException as error:  # it may come between 3 and 5, or before the answer of 3
            failed = audit.told(error)
            raise
        finally:
            with suppress(WorkerError, TimeoutError):
                await complete(self._give_back(asked["lock"], lease, failed))  # 7

    async def _give_back(self, lock: str, lease: RunLease, failed: str | None) -> None:
        """The lease; after a failure no run stands as `running` under it."""
        if failed is not None:
            with suppress(WorkerError):
                await job_runs.leave(self.parts.database, lock, lease.epoch, failed)
        await lease.release()

    async def _with_retry(self, step: Callable[[], Awaitable[T]]) -> T:
        """A step that may be made twice: while the server is away it is waited for."""
        wait = Wait(log, self.parts.clock, "job_waits")
        done = await retrying_for(
            self.parts.settings.jobs.patience_s, step, clock=self.parts.clock, on_retry=wait.failed
        )
        wait.over()
        return done

    def _asked(self, job: Job[A], arguments: A, interval: str | None, *, dry_run: bool) -> dict[str, Any]:
        if dry_run and not job.has_dry_run:
            raise Misconfigured(f"{job.name} has no dry run, it would change what is stored: leave it out")
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

    def _lease(self, lock: str) -> Lease:
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        return Lease(self.parts.database, lock, owner, self.parts.settings.jobs.lease_s)

    async def _claim(self, lease: Lease, key: str) -> RunLease:
        """The lease, in which the run stands that is about to be worked on."""
        last = await job_runs.latest(self.parts.database, key)
        number = 1 if last is None else last.number + (last.status not in job_runs.UNFINISHED)
        run = job_runs.run_id(key, number)
        return await claim(lease, self.parts.settings.jobs, self.parts.clock, who=self.who, run=run)

    async def _begin(
        self, asked: Mapping[str, Any], lease: RunLease, *, again: bool
    ) -> tuple[JobRun, Former | None] | Result:
        """The run to work on, and who did before; a Result where it was finished while we waited for the lease."""
        database = self.parts.database
        done = await self._done_before(asked, again=again)
        if done is not None:
            return Result(done, already=True)
        await job_runs.shut_out(database, asked["lock"], lease.epoch)
        attempt = job_runs.Attempt(
            self.who, socket.gethostname(), os.getpid(), lease.epoch, self.parts.clock.now()
        )
        last = await job_runs.latest(database, asked["key"])
        former: Former | None = None
        if last is not None and last.status in job_runs.UNFINISHED:
            former = Former(last.who, last.started_at, last.progress.done)
            begun = await job_runs.go_on(database, attempt, last)
        else:
            begun = await job_runs.begin(database, attempt, asked, 1 if last is None else last.number + 1)
        if begun is None:
            raise LeaseLost(TAKEN_OVER)
        resumed = former is not None
        log.info("job_begun", job=begun.job, run=begun.id, attempt=begun.attempts, resumed=resumed)
        if former is not None:
            since = former.since.isoformat()
            log.info("job_resumed", run=begun.id, former=former.who, since=since, done=former.done)
        self.begun(begun, former)
        return begun, former

    async def _audited(self, work: Work[A], former: Former | None) -> Result:
        run = work.run
        asked = {**run.arguments, **({"interval": run.interval} if run.interval else {})}
        await self._with_retry(partial(end_rows_by_their_runs, self.parts.database, run.id))
        try:
            async with audit.recorded(
                self.parts.database, command=run.job, who=self.who, arguments=asked, run=run.id
            ) as row:
                result = Result(await work.to_its_end(), former=former)
                row.outcome.update({**result.run.counts, **result.outcome})
        except audit.NotRecorded as error:
            log.warning("job_not_noted", job=run.job, run=run.id, reason=str(error))
            return replace(result, unnoted=str(error))
        return result


def _one_spelling(interval: str | None) -> str | None:
    try:
        return None if interval is None else str(parse_interval(interval))
    except ValueError as error:
        raise Misconfigured(str(error)) from None
