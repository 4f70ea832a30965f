"""Spans as the library makes them: linked to the traces of producers, and without a word of a payload."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.spans import Kept, library, linked, spans_in_memory
from worker.contract.trace_context import TraceContext

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01", "rojo=1,congo=2")
OTHER = TraceContext(f"00-{'c' * 32}-{'d' * 16}-00")


@pytest.fixture
def kept() -> Kept:
    return spans_in_memory()


def test_a_span_is_linked_to_each_trace_once(kept: Kept) -> None:
    attributes = {"messaging.system": "kafka"}
    with kept.tracing.span("ingest batch", attributes, kind="consumer", links=lambda: [ONE, OTHER, ONE]):
        assert kept.spans == []
    (span,) = kept.spans
    assert (span.name, span.kind.name, dict(span.attributes)) == ("ingest batch", "CONSUMER", attributes)
    assert linked(span) == ["a" * 32, "c" * 32]
    first, second = (link.context for link in span.links)
    assert (f"{first.span_id:016x}", int(first.trace_flags), int(second.trace_flags)) == ("b" * 16, 1, 0)
    assert dict(first.trace_state) == {"rojo": "1", "congo": "2"}
    assert first.is_remote


def test_thousands_of_traces_are_as_many_links_as_the_library_keeps(kept: Kept) -> None:
    many = [TraceContext(f"00-{number:032x}-{1:016x}-01") for number in range(1, 5_000)]
    with kept.tracing.span("ingest batch", {}, links=lambda: many):
        pass
    (span,) = kept.spans
    assert linked(span) == [trace.trace_id for trace in many[:128]]


def test_of_thousands_of_traces_no_more_are_read_than_become_links(kept: Kept) -> None:
    read = []

    def traces() -> Iterator[TraceContext]:
        for number in range(1, 5_000):
            read.append(number)
            yield TraceContext(f"00-{number // 2 + 1:032x}-{1:016x}-01")

    with kept.tracing.span("ingest batch", {}, links=traces):
        pass
    assert len(linked(kept.spans[0])) == 128
    assert len(read) == 254  # each of them twice but for the first and the last


def test_an_error_is_named_by_its_class_and_never_quoted(kept: Kept) -> None:
    with pytest.raises(ValueError, match="secret"), kept.tracing.span("send notification", {}):
        raise ValueError("a learner's secret")
    (span,) = kept.spans
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "ValueError")
    assert "secret" not in span.to_json()


def test_what_is_over_is_a_span_of_its_own_times(kept: Kept) -> None:
    ended = NOON + timedelta(milliseconds=1_500)
    kept.tracing.record("fold round", {"sevenp.events": 3}, NOON, ended, links=lambda: [ONE])
    (span,) = kept.spans
    assert span.start_time == int(NOON.timestamp()) * 10**9
    assert span.end_time - span.start_time == 1_500_000_000
    assert linked(span) == ["a" * 32]


async def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    made = library("worker.telemetry.spans").open_spans("http/protobuf")
    with made.span("ingest batch", {}):
        pass
    await made.close()


@pytest.mark.parametrize(("given", "name"), [("", "sevenp-worker"), ("ours", "ours")])
def test_the_service_has_our_name_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str, name: str
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", given)
    resource = library("worker.telemetry.spans").resource()
    assert resource.attributes["service.name"] == name
    assert resource.attributes["deployment.environment"] == "test"
