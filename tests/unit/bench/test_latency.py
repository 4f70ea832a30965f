"""An event is visible when its learner's record has reached its place in the stream."""

import pytest
from bson import ObjectId

from bench.latency import Latency, Watched

ONE, OTHER = ObjectId(), ObjectId()


def test_one_change_may_show_several_events() -> None:
    watched = Watched(frozenset({ONE}))
    for now in (1.0, 2.0, 3.0):
        watched.published(ONE, now)
    watched.visible(ONE, 2, 5.0)
    assert watched.seconds == [4.0, 3.0]
    assert list(watched.open) == [(ONE, 3)]


def test_an_older_state_that_is_shown_again_counts_nothing_twice() -> None:
    watched = Watched(frozenset({ONE}))
    watched.published(ONE, 1.0)
    watched.visible(ONE, 1, 2.0)
    watched.visible(ONE, 1, 9.0)
    assert watched.seconds == [1.0]
    assert not watched.open


def test_learners_that_are_not_watched_are_not_waited_for() -> None:
    watched = Watched(frozenset({ONE}))
    watched.published(OTHER, 1.0)
    assert not watched.open


def test_the_summary_is_in_milliseconds() -> None:
    summary = Latency(1_000, 998.4, [each / 1000 for each in range(1, 101)], 80 * 2**20, 0.5, 0.75).as_json()
    assert (summary["p50_ms"], summary["p99_ms"], summary["max_ms"]) == (50.0, 99.0, 100.0)
    assert summary["reached_per_s"] == 998
    assert summary["peak_mib"] == pytest.approx(80)
    assert (summary["worker_cores"], summary["mongod_cores"]) == (0.5, 0.75)
