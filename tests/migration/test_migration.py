"""A small trial; the large one is `python -m tests.migration`."""

import pytest

from tests.migration.trial import MigrationSize, run_trial


@pytest.mark.long
async def test_a_course_under_load_is_migrated_once_for_each_learner() -> None:
    report = await run_trial(MigrationSize(learners=400, lessons=40, kills=2, load=20, quiet_s=3))
    assert report.wrong == []
    assert report.kills == 2
