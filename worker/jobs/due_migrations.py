"""The job `due-migrations`: a course whose version was deployed or taken back is migrated where that asks for it.

For a schedule: it looks at the histories of versions and starts `curriculum-migration` for each deployment that has
had no run of its own yet. A run that was killed goes on, one that was cancelled is not started again.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from bson import ObjectId
from pydantic import JsonValue

from projections.content.versions.migration import Migration, migrations
from worker.errors import Refused
from worker.jobs.context import JobContext, Parts
from worker.jobs.curriculum_migration import CURRICULUM_MIGRATION, CurriculumMigration
from worker.jobs.errors import Cancelled, Held
from worker.jobs.job import Job, NoArguments
from worker.jobs.runner import Runner
from worker.settings import RetentionSettings
from worker.storage import job_runs, reading

log = structlog.get_logger(__name__)

NAME: Final = "due-migrations"

# What was deployed before has long been done, or left.
_LOOKS_BACK: Final = timedelta(days=30)


async def run(context: JobContext, _arguments: NoArguments) -> Mapping[str, JsonValue]:
    """Start what is due, one course after the other; what cannot be migrated holds no other course up."""
    due = await _due(context)
    await context.total(len(due))
    refused: list[str] = []
    for course_id, migration in due.items():
        arguments = CurriculumMigration(course=str(course_id), deployment=str(migration.event_id))
        counts = {"migrated": 0, "held": 0, "refused": 0}
        try:
            if not context.dry_run:
                parts = Parts(context.database, context.settings, context.clock, context.metrics)
                await Runner(parts, NAME).run(CURRICULUM_MIGRATION, arguments)
            counts["migrated"] = 1
        except (Held, Cancelled):
            counts["held"] = 1
        except Refused as error:
            counts["refused"] = 1
            refused.append(str(course_id))
            log.warning("migration_refused", course=str(course_id), reason=str(error))
        await context.advance(1, {}, **counts)
    return {"refused": list(refused)}


def looks_back(retention: RetentionSettings) -> timedelta:
    """How old a deployment is at most: no older than runs, for whose run is forgotten would be migrated again."""
    return min(_LOOKS_BACK, retention.job_runs)


async def _due(context: JobContext) -> dict[ObjectId, Migration]:
    """By course the last deployment that asks for a migration, and has had no run that came to its end."""
    since = context.clock.now() - looks_back(context.settings.retention)
    found = await reading.find(
        context.database.collection("version_history"), {"recorded_at": {"$gt": since}}, sort=[("_id", 1)]
    )
    due: dict[ObjectId, Migration] = {}
    for course_id, asked in found.through(_asked).values:
        if asked is None or asked.at <= since:
            continue
        arguments = CurriculumMigration(course=str(course_id), deployment=str(asked.event_id))
        last = await job_runs.latest(
            context.database, CURRICULUM_MIGRATION.key(arguments, None, dry_run=False)
        )
        if last is None or last.status in job_runs.UNFINISHED:
            due[course_id] = asked
    return due


def _asked(history: Mapping[str, Any]) -> tuple[ObjectId, Migration | None]:
    return history["entity_id"], next(reversed(migrations(history)), None)


def _has_refused(outcome: Mapping[str, JsonValue]) -> bool:
    return bool(outcome["refused"])


DUE_MIGRATIONS = Job(
    NAME,
    NoArguments,
    run,
    changes=False,
    about="start curriculum-migration for each course whose last deployment or rollback asks for it",
    differs=_has_refused,
)
