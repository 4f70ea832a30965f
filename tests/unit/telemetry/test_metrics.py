"""Names, labels and closed sets: what dashboards and alerts are built on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from projections.catalogue import CATALOGUE, EVERY
from projections.kinds import Catalogue
from tests.support.clocks import ManualClock
from worker.contract.family import Inlet
from worker.contract.rejection import RejectReason
from worker.jobs.catalogue import JOBS
from worker.retry.depths import REPLAY_JOBS, DepthGauges, Depths, Walk
from worker.settings import Channel, RoleName
from worker.storage.database import COLLECTIONS, TIMED
from worker.telemetry.declared import MaybeGauge
from worker.telemetry.health import Health
from worker.telemetry.labels import Mode, Outcome, Stage
from worker.telemetry.metrics import Metrics, declared_metrics
from worker.telemetry.mongodb import CommandTimer

LEASES = [f"progress:{number:02}" for number in range(16)]
MOST_BY_DEFAULT = 600
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


@dataclass(frozen=True, slots=True)
class Site:
    """What a worker has and does: as many series as it can come to."""

    catalogue: Catalogue
    topics: int
    partitions: int
    channels: Iterable[Channel]
    scheduler: bool = False
    canary: bool = False

    def series(self) -> int:
        """With every gauge that can be known shown."""
        metrics, clock = Metrics(catalogue=self.catalogue), ManualClock()
        health = Health(clock, metrics)
        metrics.describe_build("a" * 40)
        metrics.drain_budget_seconds.set(20)
        CommandTimer(metrics, TIMED)
        watchers = ["progress", "counts", *(["models"] if self.catalogue.contests else [])]
        alone = [*watchers[1:], "retry", *(["canary"] if self.canary else [])]
        metrics.prepare_leases([*LEASES, *(f"{each}:00" for each in alone)])
        components = [*RoleName, "readiness", "presence", "control", *(["canary"] if self.canary else [])]
        if self.scheduler:
            metrics.prepare_jobs(job.name for job in JOBS)
            components.append("schedule")
        for name in components:
            health.component(name)
        for name in ("mongodb", "kafka", "start"):
            health.dependency(name)
        for number in range(self.topics):
            self._show_topic(metrics, f"topic-{number}")
        for watcher in watchers:
            metrics.change_stream_lag_seconds.labels(watcher).set(1)
            metrics.change_stream_oplog_headroom_seconds.labels(watcher).set(1)
            metrics.change_stream_last_heartbeat_timestamp_seconds.labels(watcher).set(1)
        for channel in self.channels:
            metrics.notification_send_duration_seconds.labels(channel).observe(1)
        DepthGauges(metrics, clock).show(everything())
        return len(_series(metrics))

    def _show_topic(self, metrics: Metrics, topic: str) -> None:
        metrics.prepare_topic(topic)
        for of_topic in (
            metrics.kafka_topic_partitions,
            metrics.kafka_scalable_lag_records,
            metrics.kafka_lag_updated_timestamp_seconds,
        ):
            of_topic.labels(topic).set(1)
        for partition in range(self.partitions):
            metrics.kafka_consumer_lag_records.labels(topic, partition).set(1)
            metrics.kafka_consumer_lag_seconds.labels(topic, partition).set(1)


DEFAULT = Site(CATALOGUE, topics=1, partitions=16, channels=[Channel.LOG])
"""All roles by default settings, on the learners' topic as `topic apply` makes it; nobody else reads it."""


def test_by_default_a_worker_exports_at_most_600_series() -> None:
    assert DEFAULT.series() <= MOST_BY_DEFAULT


def test_a_further_topic_has_fourteen_series_and_two_for_each_partition() -> None:
    assert replace(DEFAULT, topics=2).series() - DEFAULT.series() == 14 + 2 * DEFAULT.partitions


def test_with_everything_on_a_worker_exports_at_most_1500_series() -> None:
    """Every projection, topic, channel and job, the canary, and more partitions than anybody has on one worker."""
    site = Site(EVERY, len(Inlet), PARTITIONS, Channel, scheduler=True, canary=True)
    assert site.series() <= MOST_WITH_EVERYTHING_ON


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
