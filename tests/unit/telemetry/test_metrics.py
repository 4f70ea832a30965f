"""Names, labels and closed sets: what dashboards and alerts are built on."""

import re
from itertools import product

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from tests.support.clocks import ManualClock
from worker.contract.rejection import RejectReason
from worker.jobs.catalogue import JOBS
from worker.retry.depths import REPLAY_JOBS, DepthGauges, Depths, Walk
from worker.settings import Channel, RoleName
from worker.storage.database import COLLECTIONS
from worker.storage.shares import GROUPS
from worker.telemetry.declared import MaybeGauge
from worker.telemetry.health import Health
from worker.telemetry.labels import Mode, Outcome, Stage
from worker.telemetry.metrics import Metrics, declared_metrics
from worker.telemetry.mongodb import CommandTimer

LEASES = [f"progress:{number:02}" for number in range(16)]
MOST_WITH_EVERYTHING_ON = 1_500
# More than anybody has, on one worker.
PARTITIONS = 64


def _series(metrics: Metrics) -> list[str]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def _own(metrics: Metrics) -> dict[str, MetricWrapperBase]:
    return {name: metric for name, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)}


def test_every_attribute_is_named_as_its_metric_without_the_prefix() -> None:
    for attribute, metric in _own(Metrics()).items():
        (family,) = metric.describe()
        total = "_total" if family.type == "counter" else ""
        assert f"sevenp_worker_{attribute}" == f"{family.name}{total}"


def test_every_metric_has_a_base_unit_or_counts_things() -> None:
    for attribute in _own(Metrics()):
        assert not re.search(r"_(ms|millis|milliseconds|minutes|hours|kb|mb|percent)(_|$)", attribute)


def test_no_label_could_hold_an_identifier() -> None:
    allowed = {
        "cause",
        "channel",
        "collection",
        "component",
        "dependency",
        "error_class",
        "job",
        "kind",
        "lease",
        "mode",
        "operation",
        "outcome",
        "partition",
        "projection",
        "python",
        "reason",
        "revision",
        "stage",
        "state",
        "step",
        "topic",
        "version",
        "watcher",
        "what",
    }
    used = {label for declared in declared_metrics().values() for label in declared.labels}
    assert used <= allowed


def test_partition_stands_only_on_the_two_lag_gauges() -> None:
    partitioned = {name for name, declared in declared_metrics().items() if "partition" in declared.labels}
    assert partitioned == {"kafka_consumer_lag_records", "kafka_consumer_lag_seconds"}


@pytest.mark.parametrize(
    ("sample", "labels"),
    [
        *[("events_processed_total", {"topic": "t", "outcome": outcome}) for outcome in Outcome],
        *[("ingest_stage_duration_seconds_count", {"stage": stage}) for stage in Stage],
        *[("dead_lettered_events_total", {"error_class": reason}) for reason in RejectReason],
        *[
            ("projection_events_applied_total", {"projection": "progress", "mode": mode, "outcome": "failed"})
            for mode in Mode
        ],
        ("events_dropped_total", {"reason": "unexpected"}),
        ("kafka_records_consumed_total", {"topic": "t"}),
        ("kafka_breaker_open_partitions", {"topic": "t"}),
        ("mongodb_operation_duration_seconds_count", {"operation": "find"}),
        ("mongodb_failed_commands_total", {"collection": "course_events"}),
        ("change_stream_restarts_total", {"watcher": "progress", "reason": "history_lost"}),
        ("projection_drift_documents_total", {"projection": "counts"}),
        ("lease_held", {"lease": "progress:15"}),
    ],
)
def test_closed_label_sets_exist_at_zero_before_the_first_event(sample: str, labels: dict[str, str]) -> None:
    metrics = Metrics()
    metrics.prepare_topic("t")
    metrics.prepare_leases(LEASES)
    metrics.prepare_collections(COLLECTIONS)
    assert metrics.registry.get_sample_value(f"sevenp_worker_{sample}", labels) == 0


@pytest.mark.parametrize(
    "name",
    [
        "kafka_consumer_lag_records",
        "kafka_consumer_lag_seconds",
        "kafka_scalable_lag_records",
        "kafka_lag_updated_timestamp_seconds",
        "kafka_topic_partitions",
        "change_stream_last_heartbeat_timestamp_seconds",
        "change_stream_lag_seconds",
        "retry_queue_events",
        "retry_oldest_age_seconds",
        "dead_letter_events",
        "outbox_pending_events",
        "refused_rows",
        "drift_findings",
        "drift_checked_timestamp_seconds",
        "replay_remaining_streams",
        "depths_updated_timestamp_seconds",
        "drain_budget_seconds",
    ],
)
def test_what_nobody_knows_yet_has_no_series(name: str) -> None:
    metrics = Metrics()
    metrics.prepare_topic("t")
    assert [line for line in _series(metrics) if line.startswith(f"sevenp_worker_{name}")] == []


def test_a_value_that_is_not_known_any_more_has_no_series_until_it_is_known_again() -> None:
    metrics = Metrics()
    gauge, name = metrics.outbox_pending_events, "sevenp_worker_outbox_pending_events"
    assert isinstance(gauge, MaybeGauge)
    gauge.set(0)
    assert metrics.registry.get_sample_value(name) == 0
    gauge.forget()
    gauge.forget()
    assert metrics.registry.get_sample_value(name) is None
    gauge.set(3)
    assert metrics.registry.get_sample_value(name) == 3


def test_a_revoked_partition_leaves_no_series_behind() -> None:
    metrics = Metrics()
    for partition in (0, 1):
        metrics.kafka_consumer_lag_records.labels("t", partition).set(5)
        metrics.kafka_consumer_lag_seconds.labels("t", partition).set(5)
    metrics.forget_partition("t", 1)
    metrics.forget_partition("t", 1)
    left = [line for line in _series(metrics) if "partition=" in line]
    assert len(left) == 2
    assert all('partition="0"' in line for line in left)


def test_a_watcher_that_follows_nothing_leaves_no_series_behind() -> None:
    metrics = Metrics()
    for watcher in ("progress", "counts"):
        metrics.change_stream_last_heartbeat_timestamp_seconds.labels(watcher).set(1)
        metrics.change_stream_lag_seconds.labels(watcher).set(1)
        metrics.change_stream_oplog_headroom_seconds.labels(watcher).set(1)
    metrics.forget_watcher("progress")
    metrics.forget_watcher("progress")
    shown = [line for line in _series(metrics) if re.search(r"change_stream_(last|lag|oplog)", line)]
    assert [line.count('watcher="counts"') for line in shown] == [1, 1, 1]


def test_the_jobs_whose_progress_is_shown_are_the_rebuilds() -> None:
    assert set(REPLAY_JOBS) == {job.name for job in JOBS if job.name.startswith("rebuild-")}


def test_a_fresh_worker_exports_few_series() -> None:
    metrics = Metrics()
    metrics.prepare_topic("t")
    metrics.prepare_leases(LEASES)
    assert (
        len(_series(metrics)) < 560
    )  # a topic of four partitions, and what hostile content adds, on top: 600


def test_with_everything_on_there_are_fewer_series_than_promised() -> None:
    """Every role, channel and group of every watcher, the depths, a scheduler, many partitions."""
    metrics, clock = Metrics(), ManualClock()
    health = Health(clock, metrics)
    metrics.describe_build("a" * 40)
    metrics.drain_budget_seconds.set(20)
    CommandTimer(metrics, COLLECTIONS)
    metrics.prepare_jobs(job.name for job in JOBS)
    watchers = ("progress", "counts", "models")
    groups = product((*watchers, "retry", "canary"), range(GROUPS))
    metrics.prepare_leases(f"{watcher}:{number:02}" for watcher, number in groups)
    for name in (*RoleName, *watchers, "readiness", "schedule", "canary", "presence"):
        health.component(name)
    for name in ("mongodb", "kafka", "start"):
        health.dependency(name)
    for topic in ("one", "another"):
        metrics.prepare_topic(topic)
        for of_topic in (
            metrics.kafka_topic_partitions,
            metrics.kafka_scalable_lag_records,
            metrics.kafka_lag_updated_timestamp_seconds,
        ):
            of_topic.labels(topic).set(1)
        for partition in range(PARTITIONS):
            metrics.kafka_consumer_lag_records.labels(topic, partition).set(1)
            metrics.kafka_consumer_lag_seconds.labels(topic, partition).set(1)
    for watcher in watchers:
        metrics.change_stream_lag_seconds.labels(watcher).set(1)
        metrics.change_stream_oplog_headroom_seconds.labels(watcher).set(1)
        metrics.change_stream_last_heartbeat_timestamp_seconds.labels(watcher).set(1)
    for channel in Channel:
        metrics.notification_send_duration_seconds.labels(channel).observe(1)
    DepthGauges(metrics, clock).show(everything())
    assert len(_series(metrics)) <= MOST_WITH_EVERYTHING_ON


def everything() -> Depths:
    """Depths of a platform where everything waits and every job runs."""
    return Depths(
        items={},
        oldest_item_s=1,
        blocked_streams=1,
        refused_rows={},
        dead_letters={},
        oldest_dead_letter_s={},
        redrives={},
        unsent=1,
        oldest_unsent_s=1,
        checked_at_s=1,
        walk=Walk("scrub-1", {"progress": 1, "counts": 1}),
        replays=dict.fromkeys(REPLAY_JOBS, (1, 2)),
    )


def test_two_sets_of_metrics_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.version_holes_filled_total.inc()
    name = "sevenp_worker_version_holes_filled_total"
    assert first.registry.get_sample_value(name) == 1
    assert second.registry.get_sample_value(name) == 0
