"""Every registered job has a name of its own, and arguments that can be kept."""

import re

from worker.jobs.catalogue import JOBS
from worker.jobs.job import JobArguments


def test_names_are_unique_and_fit_a_command_line() -> None:
    names = [job.name for job in JOBS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name)] == []


def test_every_job_says_what_it_does_and_takes_frozen_arguments() -> None:
    for job in JOBS:
        assert job.about, job.name
        assert issubclass(job.arguments, JobArguments), job.name
        assert job.arguments.model_config.get("frozen"), job.name
        assert job.arguments.model_config.get("extra") == "forbid", job.name
