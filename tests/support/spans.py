"""Spans that stay in memory, where the extra `otel` is installed; a test that needs them is skipped elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from worker.telemetry.tracing import Tracing

_REASON = "the extra `otel` is not installed: make env"


def library(name: str) -> Any:
    """A module of the library, or of ours that needs it."""
    return pytest.importorskip(name, reason=_REASON)


@dataclass(frozen=True, slots=True)
class Kept:
    """A tracing, and the spans it has made."""

    tracing: Tracing
    exporter: Any

    @property
    def spans(self) -> Sequence[Any]:
        """Those that are over."""
        return [*self.exporter.get_finished_spans()]

    def named(self, name: str) -> Sequence[Any]:
        return [span for span in self.spans if span.name == name]


def spans_in_memory() -> Kept:
    """Each span is there as soon as it is over."""
    sdk, export = library("opentelemetry.sdk.trace"), library("opentelemetry.sdk.trace.export")
    exporter = library("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return Kept(library("worker.telemetry.spans").Spans(provider), exporter)


def linked(span: Any) -> list[str]:
    """The traces that a span is linked to, in their order."""
    return [f"{link.context.trace_id:032x}" for link in span.links]
