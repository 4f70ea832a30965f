"""What is shown of the whole platform, by whom, and what of it is counted as news."""

from dataclasses import replace

from tests.support.clocks import ManualClock
from worker.retry.depths import DepthGauges, Depths, Walk
from worker.telemetry.metrics import Metrics

QUIET = Depths(
    items={"pending": 3},
    oldest_item_s=60.0,
    blocked_streams=2,
    refused_rows={},
    dead_letters={"ingest": 1},
    oldest_dead_letter_s={"ingest": 5.0},
    redrives={"not_json": 7},
    unsent=4,
    oldest_unsent_s=9.0,
)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sevenp_worker_{name}", labels)


def shown(metrics: Metrics) -> dict[str, float | None]:
    return {
        "pending": value(metrics, "retry_queue_events", state="pending"),
        "failed": value(metrics, "retry_queue_events", state="failed"),
        "oldest": value(metrics, "retry_oldest_age_seconds"),
        "blocked": value(metrics, "retry_blocked_streams"),
        "refused": value(metrics, "refused_rows", collection="notifications"),
        "dead": value(metrics, "dead_letter_events", step="ingest"),
        "unsent": value(metrics, "outbox_pending_events"),
        "oldest_unsent": value(metrics, "outbox_oldest_age_seconds"),
        "updated": value(metrics, "depths_updated_timestamp_seconds"),
    }


def test_who_holds_the_lease_shows_zeros_and_who_does_not_shows_nothing() -> None:
    metrics, clock = Metrics(), ManualClock()
    gauges = DepthGauges(metrics, clock)
    assert set(shown(metrics).values()) == {None}
    gauges.show(QUIET)
    assert shown(metrics) == {
        "pending": 3,
        "failed": 0,
        "oldest": 60,
        "blocked": 2,
        "refused": 0,
        "dead": 1,
        "unsent": 4,
        "oldest_unsent": 9,
        "updated": clock.now().timestamp(),
    }
    gauges.hide()
    gauges.hide()
    assert set(shown(metrics).values()) == {None}


def test_what_was_redriven_before_the_first_look_is_no_news() -> None:
    metrics = Metrics()
    gauges = DepthGauges(metrics, ManualClock())
    gauges.show(QUIET)
    gauges.show(replace(QUIET, redrives={"not_json": 9}))
    assert value(metrics, "dead_letter_redrives_total") == 2


def drifted(metrics: Metrics) -> float | None:
    return value(metrics, "projection_drift_documents_total", projection="progress")


def test_drift_counts_as_walks_find_it_and_each_walk_anew() -> None:
    metrics = Metrics()
    gauges = DepthGauges(metrics, ManualClock())
    gauges.show(replace(QUIET, walk=Walk("scrub-1", {"progress": 5})))
    assert drifted(metrics) == 0
    for found in (5, 8, 8):
        gauges.show(replace(QUIET, walk=Walk("scrub-1", {"progress": found})))
    assert drifted(metrics) == 3
    gauges.show(replace(QUIET, walk=Walk("scrub-2", {"progress": 2})))
    assert drifted(metrics) == 5


def test_the_first_walk_there_ever_was_is_news() -> None:
    metrics = Metrics()
    gauges = DepthGauges(metrics, ManualClock())
    gauges.show(QUIET)
    gauges.show(replace(QUIET, walk=Walk("scrub-1", {"progress": 4})))
    assert drifted(metrics) == 4


def test_a_rebuild_is_shown_while_it_is_under_way() -> None:
    metrics = Metrics()
    gauges = DepthGauges(metrics, ManualClock())

    def told() -> tuple[float | None, float | None]:
        job = {"job": "rebuild-progress"}
        return value(metrics, "replay_progress_ratio", **job), value(
            metrics, "replay_remaining_streams", **job
        )

    gauges.show(QUIET)
    assert told() == (None, None)
    gauges.show(replace(QUIET, replays={"rebuild-progress": (25, 100)}))
    assert told() == (0.25, 75)
    gauges.show(replace(QUIET, replays={"rebuild-progress": (3, 0)}))
    assert told() == (1.0, 0)
    gauges.show(QUIET)
    assert told() == (None, None)
