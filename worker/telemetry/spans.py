"""Spans by OpenTelemetry. Imported only where they are asked for: everything here needs the extra `otel`."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from worker import __version__
from worker.contract.trace_context import TraceContext
from worker.settings.standards import SpanProtocol
from worker.telemetry.tracing import Attributes, Kind, Links, no_links
from worker.timing import in_thread

_NAME: Final = "sevenp-worker"
# As many as the library keeps of one span; a batch may be about thousands of traces.
_MOST_LINKS: Final = 128
# What has not been sent by then is lost: nobody waits for a collector that is away.
_CLOSING_S: Final = 5.0
_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
}


def open_spans(protocol: SpanProtocol) -> "Spans":
    """Spans that go to the collector that the environment names. Raises ImportError for what is not installed."""
    provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(protocol)))
    return Spans(provider)


class Spans:
    """Makes the spans of a provider, and closes it. Names and attributes are from closed sets: no span has an id."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_NAME, __version__)

    @contextmanager
    def span(
        self, name: str, attributes: Attributes, *, kind: Kind = "internal", links: Links = no_links
    ) -> Iterator[None]:
        # What the library would note of an error is its message, which may quote data.
        with self._tracer.start_as_current_span(
            name,
            kind=_KINDS[kind],
            attributes=attributes,
            links=_links(links()),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def record(
        self, name: str, attributes: Attributes, began: datetime, ended: datetime, *, links: Links = no_links
    ) -> None:
        span = self._tracer.start_span(
            name, attributes=attributes, links=_links(links()), start_time=_nanoseconds(began)
        )
        span.end(_nanoseconds(ended))

    async def close(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(in_thread(self._provider.shutdown), _CLOSING_S)


def _links(traces: Iterable[TraceContext]) -> list[Link]:
    """The first of the traces, each once."""
    return [Link(_context(trace)) for trace in islice(_distinct(traces), _MOST_LINKS)]


def _distinct(traces: Iterable[TraceContext]) -> Iterator[TraceContext]:
    """Each once, and none sooner than it is asked for: a trace is read from the headers of its record then."""
    seen: set[TraceContext] = set()
    for trace in traces:
        if trace not in seen:
            seen.add(trace)
            yield trace


def _context(trace: TraceContext) -> SpanContext:
    _, trace_id, span_id, flags = trace.parent.split("-")
    state = None if trace.state is None else TraceState.from_header([trace.state])
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=state,
    )


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1_000


def resource() -> Resource:
    """Our name and version; the environment may say otherwise, and more (`OTEL_SERVICE_NAME` and alike)."""
    ours = Resource.create({"service.name": _NAME, "service.version": __version__})
    return ours.merge(OTELResourceDetector().detect())


def _exporter(protocol: SpanProtocol) -> SpanExporter:
    """Addresses, headers, certificates and time-outs are the library's to read."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc  # noqa: PLC0415 - one of the two

        made: SpanExporter = grpc.OTLPSpanExporter()
        return made
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http  # noqa: PLC0415 - one of the two

    return http.OTLPSpanExporter()
