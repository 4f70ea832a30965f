"""An event is visible when its learner's record has reached its place in the stream."""

from typing import Any

import pytest
from bson import ObjectId

from bench.checkpoints import Checkpoints
from bench.latency import Latency, Seen, Watched

ONE, OTHER = ObjectId(), ObjectId()


def test_one_change_may_show_several_events() -> None:
    watched = Watched(frozenset({ONE}))
    for now in (1.0, 2.0, 3.0):
        watched.published(ONE, now)
    watched.visible(ONE, 2, 5.0)
    assert [each.seconds for each in watched.seen] == [4.0, 3.0]
    assert list(watched.open) == [(ONE, 3)]


def test_an_older_state_that_is_shown_again_counts_nothing_twice() -> None:
    watched = Watched(frozenset({ONE}))
    watched.published(ONE, 1.0)
    watched.visible(ONE, 1, 2.0)
    watched.visible(ONE, 1, 9.0)
    assert watched.seen == [Seen(1.0, 2.0)]
    assert not watched.open


def test_learners_that_are_not_watched_are_not_waited_for() -> None:
    watched = Watched(frozenset({ONE}))
    watched.published(OTHER, 1.0)
    assert not watched.open


def _latency(seen: list[Seen], checkpoints: Checkpoints) -> dict[str, Any]:
    return Latency(1_000, 998.4, seen, checkpoints, 80 * 2**20, 0.5, 0.75).as_json()


def test_the_summary_is_in_milliseconds() -> None:
    summary = _latency([Seen(0.0, each / 1000) for each in range(1, 101)], Checkpoints())
    assert (summary["p50_ms"], summary["p99_ms"], summary["max_ms"]) == (50.0, 99.0, 100.0)
    assert (summary["p99_calm_ms"], summary["checkpoint_s"]) == (99.0, 0.0)
    assert summary["reached_per_s"] == 998
    assert summary["peak_mib"] == pytest.approx(80)
    assert (summary["worker_cores"], summary["mongod_cores"]) == (0.5, 0.75)


def test_events_in_flight_during_a_checkpoint_or_right_after_it_are_told_apart() -> None:
    before, during, across, after, late = (
        Seen(8.0, 9.9),
        Seen(10.2, 10.8),
        Seen(9.0, 11.5),
        Seen(11.8, 12.0),
        Seen(12.1, 12.2),
    )
    checkpoints = Checkpoints([(10.0, 11.0)])
    touched = [each for each in (before, during, across, after, late) if checkpoints.touch(*each)]
    assert touched == [during, across, after]
    summary = _latency([before, during, across, after, late], checkpoints)
    assert (summary["p99_ms"], summary["p99_calm_ms"], summary["checkpoint_s"]) == (2_500.0, 1_900.0, 1.0)


def test_where_every_event_met_a_checkpoint_there_is_no_calm() -> None:
    assert _latency([Seen(1.0, 2.0)], Checkpoints([(0.0, 3.0)]))["p99_calm_ms"] is None
