"""A small trial of everything; the large one is `python -m tests.replay`."""

import pytest

from tests.replay.trial import ReplaySize, run_trial


@pytest.mark.long
async def test_a_system_under_load_is_mended_promoted_and_taken_back() -> None:
    report = await run_trial(ReplaySize(events=6_000, learners=240, courses=6, kills=3, load=40, quiet_s=3))
    assert report.wrong == []
    assert report.kills == 3
    assert report.quiet.reads + report.loaded.reads > 1_000
    assert report.runs["promoted, documents"]["done"] == report.runs["rolled back, documents"]["done"] > 0
    assert all(run["peak_mib"] <= 256 for run in report.runs.values())
