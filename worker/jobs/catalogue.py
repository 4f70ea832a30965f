"""Every job there is. What can be listed, run and scheduled by name is in this tuple, and nowhere else."""

from typing import Any

from worker.jobs.job import Job

JOBS: tuple[Job[Any], ...] = ()


def job_named(name: str, jobs: tuple[Job[Any], ...] = JOBS) -> Job[Any] | None:
    """The job of that name; None where there is none."""
    return next((job for job in jobs if job.name == name), None)
