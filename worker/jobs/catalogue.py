"""Every job there is. What can be listed, run and scheduled by name is in this tuple, and nowhere else."""

from typing import Any

from worker.jobs.adopt import ADOPT
from worker.jobs.backfill import BACKFILL
from worker.jobs.check_upcasters import CHECK_UPCASTERS
from worker.jobs.curriculum_migration import CURRICULUM_MIGRATION
from worker.jobs.due_migrations import DUE_MIGRATIONS
from worker.jobs.job import Job
from worker.jobs.payments import PAYMENTS
from worker.jobs.promotion import PROMOTE, ROLLBACK
from worker.jobs.publish_stored import PUBLISH_STORED
from worker.jobs.rebuild_counts import REBUILD_COUNTS
from worker.jobs.rebuild_into import REBUILD_INTO
from worker.jobs.rebuild_notifications import REBUILD_NOTIFICATIONS
from worker.jobs.rebuild_progress import REBUILD_PROGRESS
from worker.jobs.rebuild_time_series import REBUILD_TIME_SERIES
from worker.jobs.reingest import REINGEST
from worker.jobs.scrub import SCRUB
from worker.jobs.verify_fix import VERIFY_FIX

JOBS: tuple[Job[Any], ...] = (
    REBUILD_PROGRESS,
    REBUILD_COUNTS,
    REBUILD_TIME_SERIES,
    REBUILD_NOTIFICATIONS,
    REBUILD_INTO,
    PROMOTE,
    ROLLBACK,
    PUBLISH_STORED,
    ADOPT,
    CHECK_UPCASTERS,
    PAYMENTS,
    VERIFY_FIX,
    SCRUB,
    REINGEST,
    BACKFILL,
    CURRICULUM_MIGRATION,
    DUE_MIGRATIONS,
)


def job_named(name: str, jobs: tuple[Job[Any], ...] = JOBS) -> Job[Any] | None:
    """The job of that name; None where there is none."""
    return next((job for job in jobs if job.name == name), None)
