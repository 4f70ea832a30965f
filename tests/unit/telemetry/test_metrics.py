"""Names, labels and closed sets: what dashboards and alerts are built on."""

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from worker.contract.rejection import RejectReason
from worker.telemetry.metrics import Metrics, Mode, Outcome, Stage

GROUPS = [f"progress:{number:02}" for number in range(16)]


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
        "collection",
        "component",
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
    }
    used = {label for metric in _own(Metrics()).values() for label in metric._labelnames}  # noqa: SLF001
    assert used <= allowed


def test_partition_stands_only_on_the_two_lag_gauges() -> None:
    partitioned = {
        attribute
        for attribute, metric in _own(Metrics()).items()
        if "partition" in metric._labelnames  # noqa: SLF001 - the library has no public way to ask
    }
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
        ("change_stream_restarts_total", {"watcher": "progress", "reason": "history_lost"}),
        ("lease_held", {"lease": "progress:15"}),
    ],
)
def test_closed_label_sets_exist_at_zero_before_the_first_event(sample: str, labels: dict[str, str]) -> None:
    metrics = Metrics()
    metrics.prepare_topic("t")
    metrics.prepare_leases(GROUPS)
    assert metrics.registry.get_sample_value(f"sevenp_worker_{sample}", labels) == 0


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


def test_a_fresh_worker_exports_few_series() -> None:
    metrics = Metrics()
    metrics.prepare_topic("t")
    metrics.prepare_leases(GROUPS)
    assert len(_series(metrics)) < 400


def test_two_sets_of_metrics_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.version_holes_filled_total.inc()
    name = "sevenp_worker_version_holes_filled_total"
    assert first.registry.get_sample_value(name) == 1
    assert second.registry.get_sample_value(name) == 0
