"""How far `due-migrations` looks back: a migration whose run is forgotten would be started again and again."""

from datetime import timedelta

import pytest

from worker.jobs.due_migrations import looks_back
from worker.settings import RetentionSettings


@pytest.mark.parametrize(("kept", "days"), [(400, 30), (30, 30), (7, 7), (1, 1)])
def test_nothing_is_looked_for_that_is_older_than_the_runs_that_are_kept(kept: int, days: int) -> None:
    retention = RetentionSettings(job_runs_days=kept, before_images_days=1)
    assert looks_back(retention) == timedelta(days=days)
