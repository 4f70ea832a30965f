"""Spans are made only where the environment asks for them; without them nothing of the library is even imported."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from worker.errors import Misconfigured
from worker.settings.standards import traces_asked_for
from worker.telemetry.tracing import UNTRACED, open_tracing, traces_of_records

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HTTP = "http/protobuf"


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "worker"}, None),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, HTTP),
        ({"OTEL_TRACES_EXPORTER": " OTLP "}, HTTP),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, HTTP),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, HTTP),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        (
            {
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
            },
            HTTP,
        ),
    ],
)
def test_the_environment_asks_by_exporter_or_endpoint(
    variables: dict[str, str], protocol: str | None
) -> None:
    assert traces_asked_for(variables) == protocol


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http/json"),
    ],
)
def test_a_way_that_there_is_not_is_refused(variables: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        traces_asked_for(variables)


async def test_without_being_asked_nothing_is_made_or_looked_at() -> None:
    assert open_tracing() is UNTRACED
    asked: list[str] = []

    def links() -> list[None]:
        asked.append("links")
        return []

    with UNTRACED.span("ingest batch", {}, links=links):  # type: ignore[arg-type]
        pass
    UNTRACED.record("fold round", {}, NOON, NOON, links=links)  # type: ignore[arg-type]
    await UNTRACED.close()
    assert (asked, UNTRACED.on) == ([], False)


@pytest.mark.slow
def test_nothing_of_the_library_is_imported_by_the_worker() -> None:
    probe = (
        "import sys, worker.cli.commands, worker.app.serving, worker.telemetry.tracing as t; t.open_tracing(); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603  # our own
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("protocol", "hint"),
    [(HTTP, r"\[otel\]', or set OTEL_SDK_DISABLED"), ("grpc", "exporter-otlp-proto-grpc")],
)
def test_who_asks_and_has_not_installed_it_is_told_how(
    monkeypatch: pytest.MonkeyPatch, protocol: str, hint: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.delitem(sys.modules, "worker.telemetry.spans", raising=False)
    for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.sdk.resources"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Misconfigured, match=hint):
        open_tracing()


def test_the_traces_of_records_are_those_that_their_headers_name() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers: list[tuple[tuple[str, bytes | None], ...] | bytes] = [
        (),
        (("traceparent", parent.encode()),),
        b"\x00",
        (("traceparent", None),),
    ]
    assert [trace.parent for trace in traces_of_records(headers)] == [parent]
