"""One entry, followed: what is due is started, in order and one at a time, and nothing that was handled is again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from worker.errors import Retryable, WorkerError
from worker.jobs.errors import Cancelled, Held, LeaseLost
from worker.jobs.runner import Runner
from worker.jobs.schedule.entry import Entry
from worker.jobs.schedule.plan import Decision, decide
from worker.storage import job_runs, schedule_positions
from worker.storage.job_models import JobRun
from worker.storage.retrying import retrying
from worker.storage.schedule_positions import Position
from worker.telemetry.labels import MisfireReason, ScheduledOutcome
from worker.telemetry.waits import Wait
from worker.timing import Backoff, run_until_stopped

log = structlog.get_logger(__name__)

# The wall clock may be a little behind the one that was waited by.
_SHORTEST_WAIT_S = 0.05
# What was begun and did not come to its end. A run that failed did: its job runs again at the next firing.
_GOES_ON = ("running", "stopped")


def _unheard() -> None:
    """Nobody listens. Whoever follows an entry may wait for days: its turns are no sign of life."""


@dataclass(frozen=True, slots=True)
class EntryFollower:
    """Follows one entry of the schedule. Any number of processes may follow the same one: each firing runs once.

    `on_over` is called when the run of a firing is over.
    """

    entry: Entry
    runner: Runner
    on_over: Callable[[], None] = _unheard

    async def run(self, retired: asyncio.Event) -> None:
        """Turn after turn until `retired`, which lets a run under way come to its end.

        A cancellation ends that run, too: its place is kept, and the next scheduler goes on there.
        """
        clock = self.runner.parts.clock
        backoff, wait = Backoff(clock, _unheard), Wait(log, clock, "schedule_waits", entry=self.entry.name)
        while not retired.is_set():
            try:
                wait_s = await self._turn()
            except WorkerError as error:  # the other entries must not end for it
                wait.failed(error)
                await backoff.wait(retired)
            else:
                backoff.reset()
                wait.over()
                await run_until_stopped(clock.sleep(wait_s), retired)

    async def _turn(self) -> float:
        """Handle what is due, and return how long to wait for more.

        1. where this entry has come to, and what is due since  2. if the first of it was begun already, it is not to
        be decided any more: it goes on, or is over  3. decide  4. drop what is dropped, before anything is started:
        so what was begun is always the first  5. start one firing, and move the position there when its run is over
        """
        parts, now = self.runner.parts, self.runner.parts.clock.now()
        # 1.
        position = await schedule_positions.read_or_begin(parts.database, self.entry.id, now)
        look_back = min(parts.settings.schedule.look_back, parts.settings.retention.job_runs)
        due = self.entry.cron.between(max(position.handled_until, now - look_back), now)
        if not due:
            return self._until_next(now)
        # 2.
        if (begun := await self._run_of(due[0])) is not None:
            if begun.status in _GOES_ON:
                return await self._start(position, due[0])
            return await self._over(position, due[0], begun.attempted_at, begun.finished_at)
        # 3.
        late_after = parts.settings.schedule.late_after
        decision = decide(self.entry, position, due, now, late_after=late_after)
        # 4.
        if decision.dropped_until is not None:
            dropped = replace(position, handled_until=decision.dropped_until)
            if not await self._drop(position, dropped, decision):
                return _SHORTEST_WAIT_S
            position = dropped
        # 5.
        return _SHORTEST_WAIT_S if decision.start is None else await self._start(position, decision.start)

    async def _drop(self, position: Position, to: Position, decision: Decision) -> bool:
        """Move on past what is not started; False where another scheduler moved. Who moves counts."""
        parts, job = self.runner.parts, self.entry.job.name
        if not await schedule_positions.move(parts.database, self.entry.id, position, to):
            return False
        parts.metrics.scheduled_job_misfires_total.labels(job, MisfireReason.MISSED).inc(decision.missed)
        parts.metrics.scheduled_job_misfires_total.labels(job, MisfireReason.OVERLAP).inc(decision.overlapped)
        log.warning(
            "schedule_misfired",
            entry=self.entry.name,
            missed=decision.missed,
            overlapped=decision.overlapped,
            until=to.handled_until.isoformat(),
        )
        return True

    async def _start(self, position: Position, firing: datetime) -> float:
        """Run the job of one firing to its end and move the position there; returns how long to wait then."""
        parts, began = self.runner.parts, self.runner.parts.clock.now()
        try:
            outcome = await self._outcome(firing)
        except LeaseLost:
            return parts.settings.schedule.ask_again_s  # another scheduler goes on with it
        except Held as held:
            return await self._held(position, firing, held)
        if isinstance(outcome, JobRun):
            return await self._over(position, firing, outcome.attempted_at, outcome.finished_at)
        parts.metrics.scheduled_job_runs_total.labels(self.entry.job.name, outcome).inc()
        return await self._over(position, firing, began, None)

    async def _over(
        self, position: Position, firing: datetime, began: datetime, ended: datetime | None
    ) -> float:
        """Move the position to a firing whose run is over; what came due meanwhile had to wait for it."""
        parts, now = self.runner.parts, self.runner.parts.clock.now()
        over = Position(firing, busy_from=began, busy_until=min(ended or now, now))
        wait = Wait(log, parts.clock, "schedule_waits", entry=self.entry.name)
        await retrying(
            lambda: schedule_positions.move(parts.database, self.entry.id, position, over),
            clock=parts.clock,
            on_retry=wait.failed,
        )
        wait.over()
        self.on_over()
        return _SHORTEST_WAIT_S

    async def _outcome(self, firing: datetime) -> ScheduledOutcome | JobRun:
        """How the run of this firing ended; that run where it is somebody else's, and had ended before.

        A job that fails has failed for this firing: the next one comes at its own time. Retryable leaves it due.
        """
        job, interval = self.entry.job, self.entry.interval(firing)
        told = log.bind(entry=self.entry.name, job=job.name, interval=interval)
        try:
            result = await self.runner.run(job, self.entry.arguments, interval=interval)
        except (Retryable, LeaseLost, Held):
            raise
        except Cancelled as error:
            told.warning("scheduled_job_cancelled", reason=str(error))
            return ScheduledOutcome.CANCELLED
        except WorkerError as error:
            told.error("scheduled_job_failed", reason=str(error))
            return ScheduledOutcome.FAILED
        except Exception as error:  # a defect of one job: the others must not end for it
            told.exception("scheduled_job_failed", reason=f"a defect ({type(error).__name__})")
            return ScheduledOutcome.FAILED
        differs = result.run.outcome is not None and job.differs(result.run.outcome)
        if differs:
            told.warning("scheduled_job_found_something", run=result.run.id, already=result.already)
        else:
            told.info("scheduled_job_done", run=result.run.id, already=result.already)
        if result.already:
            return result.run
        return ScheduledOutcome.DIFFERENCE if differs else ScheduledOutcome.SUCCEEDED

    async def _held(self, position: Position, firing: datetime, held: Held) -> float:
        """Somebody else runs this job: another scheduler this very firing, or anybody another run of it."""
        parts, ask_again_s = self.runner.parts, self.runner.parts.settings.schedule.ask_again_s
        begun = await self._run_of(firing)
        if begun is not None and begun.status in _GOES_ON:
            return ask_again_s
        busy = replace(position, busy_from=position.handled_until, busy_until=parts.clock.now())
        if await schedule_positions.move(parts.database, self.entry.id, position, busy):
            log.info("schedule_overlaps", entry=self.entry.name, then=self.entry.overlap, reason=str(held))
        return ask_again_s if self.entry.overlap == "wait" else _SHORTEST_WAIT_S

    async def _run_of(self, firing: datetime) -> JobRun | None:
        """The run of this firing, if anybody has begun it."""
        key = self.entry.job.key(self.entry.arguments, self.entry.interval(firing), dry_run=False)
        return await job_runs.latest(self.runner.parts.database, key)

    def _until_next(self, now: datetime) -> float:
        """Seconds; not for long, because a clock may be put right meanwhile."""
        seconds = (self.entry.cron.next(now) - now).total_seconds()
        return min(max(seconds, _SHORTEST_WAIT_S), self.runner.parts.settings.schedule.look_every_s)
