"""The scheduler: reads the entries again and again, and follows each of those that can run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from worker.errors import Misconfigured, Retryable
from worker.jobs.context import Parts
from worker.jobs.job import Job
from worker.jobs.runner import Runner
from worker.jobs.schedule.entry import Entry, Mistake, Schedule, read_schedule
from worker.jobs.schedule.following import EntryFollower
from worker.jobs.schedule.sources import Source
from worker.storage.job_runs import last_success
from worker.telemetry.health import Component
from worker.telemetry.waits import Wait
from worker.timing import cancel_and_wait, cancel_and_wait_shielded

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Followed:
    """An entry that is followed. `retired` ends that after the run under way."""

    entry: Entry
    retired: asyncio.Event
    task: asyncio.Task[None]


class Scheduler:
    """Runs the entries of `source`. An entry that cannot run is named in log and metrics, and the others run."""

    name = "schedule"

    def __init__(self, source: Source, jobs: Sequence[Job[Any]], parts: Parts, component: Component) -> None:
        self._source, self._jobs, self._parts, self._component = source, jobs, parts, component
        self._followed: list[_Followed] = []
        self._schedule: Schedule | None = None
        self._told: tuple[Mistake, ...] = ()
        self._unreadable = Wait(log, parts.clock, "schedule_unreadable")
        self._waits = Wait(log, parts.clock, "schedule_waits")
        self._shown: frozenset[str] = frozenset()
        self._run_is_over = asyncio.Event()
        parts.metrics.prepare_jobs(job.name for job in jobs)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: then runs under way are stopped at their checkpoints, and go on with the next scheduler.

        Raises Misconfigured where the entries cannot be read at start. Later, those that were read last go on.
        """
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._read()
                self._adjust()
                await self._measure()
                self._component.beat()
                waits = [each.task for each in self._followed]
                looking = asyncio.create_task(
                    self._parts.clock.sleep(self._parts.settings.schedule.look_every_s)
                )
                # What a run has come to is shown when it is over, not with the next look.
                hearing = asyncio.create_task(self._run_is_over.wait())
                await asyncio.wait({stopping, looking, hearing, *waits}, return_when=asyncio.FIRST_COMPLETED)
                await cancel_and_wait(looking, hearing)
                self._run_is_over.clear()
                self._collect()
        finally:
            await cancel_and_wait_shielded(stopping, *(each.task for each in self._followed))

    async def _read(self) -> None:
        """The entries as they stand now."""
        try:
            schedule = read_schedule(await self._source(), self._jobs)
        except (Misconfigured, Retryable) as error:
            if isinstance(error, Misconfigured) and self._schedule is None:
                raise
            self._unreadable.failed(error)
            return
        self._unreadable.over()
        self._schedule = schedule
        if schedule.mistakes != self._told:
            self._told = schedule.mistakes
            for mistake in schedule.mistakes:
                log.error("schedule_entry_refused", entry=mistake.name, reason=mistake.reason)
        for state, number in (("running", len(schedule.entries)), ("refused", len(schedule.mistakes))):
            self._parts.metrics.scheduled_entries.labels(state).set(number)

    def _adjust(self) -> None:
        """Follow each entry that nobody follows, and let go of those that are not there any more, or changed."""
        entries = () if self._schedule is None else self._schedule.entries
        for each in self._followed:
            if each.entry not in entries:
                each.retired.set()
        current = [each.entry for each in self._followed if not each.retired.is_set()]
        for entry in entries:
            if entry not in current:
                retired = asyncio.Event()
                runner = Runner(self._parts, f"schedule {entry.name}")
                follower = EntryFollower(entry, runner, self._run_is_over.set)
                task = asyncio.create_task(follower.run(retired), name=f"schedule {entry.name}")
                self._followed.append(_Followed(entry, retired, task))
                log.info("schedule_entry", entry=entry.name, job=entry.job.name, cron=entry.cron.text)

    def _collect(self) -> None:
        """Forget the retired ones that have ended; raises what one of the others raised: a defect."""
        for each in self._followed:
            if each.task.done():
                each.task.result()
        self._followed = [each for each in self._followed if not each.task.done()]

    def _show_intervals(self, entries: Sequence[Entry]) -> None:
        """How long each job may be without a success: of several entries the one that fires most often."""
        gauge, now = self._parts.metrics.scheduled_job_interval_seconds, self._parts.clock.now()
        waits: dict[str, float] = {}
        for entry in entries:
            wait_s = entry.cron.longest_wait(now).total_seconds()
            waits[entry.job.name] = min(wait_s, waits.get(entry.job.name, wait_s))
        for job in self._shown - waits.keys():
            gauge.remove_by_labels({"job": job})
        for job, wait_s in waits.items():
            gauge.labels(job).set(wait_s)
        self._shown = frozenset(waits)

    async def _measure(self) -> None:
        """When each job of the schedule succeeded last, whoever ran it, and how often it is to run."""
        entries = () if self._schedule is None else self._schedule.entries
        self._show_intervals(entries)
        try:
            for job in {entry.job.name for entry in entries}:
                if (at := await last_success(self._parts.database, job)) is not None:
                    gauge = self._parts.metrics.scheduled_job_last_success_timestamp_seconds
                    gauge.labels(job).set(at.timestamp())
        except Retryable as error:
            self._waits.failed(error)
        else:
            self._waits.over()
