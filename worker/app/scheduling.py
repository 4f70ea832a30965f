"""The scheduler as a process: served, checked, watched and drained like the worker itself."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from worker.app.dependencies import Probe, Readiness, mongodb_probe
from worker.app.opening import opened_in_use
from worker.app.roles import Dependencies, presence
from worker.app.server_state import ServerState
from worker.app.serving import serve
from worker.app.supervision import Role
from worker.jobs.catalogue import JOBS
from worker.jobs.context import Parts
from worker.jobs.job import Job
from worker.jobs.schedule.entry import Schedule, read_schedule
from worker.jobs.schedule.scheduler import Scheduler
from worker.jobs.schedule.sources import entries_in, source_of, stored_entries
from worker.settings import Settings
from worker.storage.database import Database


async def serve_schedule(settings: Settings, stop: asyncio.Event, jobs: Sequence[Job[Any]] = JOBS) -> None:
    """Run the `jobs` of the schedule until `stop`. Raises what `serve` raises, and `Misconfigured` for a bad file."""
    if settings.schedule.file is not None:
        entries_in(settings.schedule.file)  # before anything is waited for
    await serve(settings, stop, build=partial(_roles, jobs), probes_of=_probes)


async def look_at_schedule(settings: Settings) -> Schedule:
    """The entries as a scheduler would read them. Of a file nothing else is asked, not even MongoDB."""
    if settings.schedule.file is not None:
        return read_schedule(entries_in(settings.schedule.file), JOBS)
    async with opened_in_use(settings) as database:
        return read_schedule(await stored_entries(database, settings.schedule.entries_of), JOBS)


def _probes(_settings: Settings, database: Database, state: ServerState) -> list[Probe]:
    """A job that needs Kafka, too, waits for it by itself."""
    return [mongodb_probe(database, state)]


def _roles(
    jobs: Sequence[Job[Any]], settings: Settings, given: Dependencies, probes: Sequence[Probe]
) -> list[Role]:
    parts = Parts(given.database, settings, given.clock, given.metrics, tracing=given.tracing)
    source = source_of(settings.schedule, given.database)
    scheduler = Scheduler(source, jobs, parts, given.health.component(Scheduler.name))
    return [
        scheduler,
        presence(settings, given, [scheduler.name]),
        Readiness(probes, given.clock, given.health),
    ]
