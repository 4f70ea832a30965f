"""Liveness is progress, readiness is dependencies."""

import pytest
from prometheus_client import CollectorRegistry

from tests.support.clocks import ManualClock
from worker.telemetry.health import Health, beat_acting
from worker.telemetry.metrics import Metrics


def test_a_component_counts_as_moving_when_it_is_created() -> None:
    clock = ManualClock()
    clock.advance(1_000)
    component = Health(clock).component("ingest")
    assert not component.stalled


def test_a_component_that_never_beats_is_stalled_within_a_minute() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.component("ingest")
    clock.advance(44)
    assert [component.stalled for component in health.components()] == [False]
    clock.advance(15)
    assert [component.stalled for component in health.components()] == [True]


def test_a_slow_component_that_beats_is_never_stalled() -> None:
    clock = ManualClock()
    component = Health(clock).component("ingest")
    for _ in range(100):
        clock.advance(40)
        assert not component.stalled
        component.beat()


def test_a_stalled_component_recovers_with_its_next_beat() -> None:
    clock = ManualClock()
    component = Health(clock).component("ingest", stall_after_s=5)
    clock.advance(6)
    assert component.stalled
    component.beat()
    assert not component.stalled


def test_the_same_name_gives_the_same_component() -> None:
    health = Health(ManualClock())
    assert health.component("ingest") is health.component("ingest")
    assert health.dependency("kafka") is health.dependency("kafka")


def test_a_dependency_is_down_until_it_answered() -> None:
    dependency = Health(ManualClock()).dependency("kafka")
    assert dependency.reason
    dependency.up()
    assert dependency.reason is None


@pytest.mark.parametrize("reason", ["connection refused", ""])
def test_a_dependency_that_is_down_has_a_reason(reason: str) -> None:
    dependency = Health(ManualClock()).dependency("kafka")
    dependency.up()
    dependency.down(reason)
    assert dependency.reason


def test_a_servers_answer_is_progress_of_the_component_that_asked_and_of_no_other() -> None:
    clock = ManualClock()
    health = Health(clock)
    asking, other = health.component("ingest"), health.component("progress")
    clock.advance(60)
    with asking.acting():
        beat_acting()
    assert (asking.stalled, other.stalled) == (False, True)
    clock.advance(60)
    beat_acting()
    assert asking.stalled


def _sample(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value(f"sevenp_worker_{name}", {"component": "ingest"})


def test_progress_is_exported_in_unix_time_without_a_call_per_beat() -> None:
    clock, metrics = ManualClock(), Metrics()
    component = Health(clock, metrics).component("ingest")
    clock.advance(10)
    component.beat()
    beaten_at = clock.now().timestamp()
    clock.advance(60)
    progress_at = _sample(metrics.registry, "component_last_progress_timestamp_seconds")
    assert progress_at == pytest.approx(beaten_at)
    assert _sample(metrics.registry, "component_up") == 0
    component.beat()
    assert _sample(metrics.registry, "component_up") == 1


def test_a_dependency_is_exported_as_readiness_tells_it() -> None:
    metrics = Metrics()
    kafka = Health(ManualClock(), metrics).dependency("kafka")

    def up() -> float | None:
        return metrics.registry.get_sample_value("sevenp_worker_dependency_up", {"dependency": "kafka"})

    assert up() == 0
    kafka.up()
    assert up() == 1
    kafka.down("no broker answers")
    assert up() == 0
