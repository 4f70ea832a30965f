"""Spans of the worker's own work, linked to the traces of producers: nothing at all unless somebody asks for them.

Who asks is the environment, by OpenTelemetry's own variables. The library is an extra, and is imported only then.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from typing import Final, Literal, Protocol

from worker.contract.trace_context import PARENT, STATE, TraceContext, trace_of
from worker.errors import Misconfigured
from worker.settings.standards import traces_asked_for

Attributes = Mapping[str, str | int | float | bool]
Links = Callable[[], Iterable[TraceContext]]
"""The traces that a piece of work is about; asked only where spans are made."""
Kind = Literal["internal", "consumer", "producer"]

TRACE_PATHS: Final = (f"metadata.{PARENT}", f"metadata.{STATE}")
"""What is read of an event besides, where its trace is to be linked."""

INSTALL: Final = "pip install 'sevenp-worker[otel]'"


def no_links() -> Iterable[TraceContext]:
    """Of work that is about no event, or about too many."""
    return ()


class Tracing(Protocol):
    """Where spans go. `on` says whether they go anywhere: what would be read or made for them alone is left out."""

    @property
    def on(self) -> bool:
        """False where nobody asked for spans."""

    def span(
        self, name: str, attributes: Attributes, *, kind: Kind = "internal", links: Links = no_links
    ) -> AbstractContextManager[None]:
        """A span around the block; what the block raises is named in it by its class alone."""

    def record(
        self, name: str, attributes: Attributes, began: datetime, ended: datetime, *, links: Links = no_links
    ) -> None:
        """A span of something that is over."""

    async def close(self) -> None:
        """Send what has not been sent, for some seconds at most."""


class Untraced:
    """Nobody asked for spans."""

    on = False

    def span(
        self, name: str, attributes: Attributes, *, kind: Kind = "internal", links: Links = no_links
    ) -> AbstractContextManager[None]:
        return _NOTHING

    def record(
        self, name: str, attributes: Attributes, began: datetime, ended: datetime, *, links: Links = no_links
    ) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


_NOTHING: Final = nullcontext()
UNTRACED: Final[Tracing] = Untraced()


def open_tracing() -> Tracing:
    """What the environment asks for. Raises Misconfigured where it asks for what is not installed."""
    protocol = traces_asked_for()
    if protocol is None:
        return UNTRACED
    try:
        from worker.telemetry.spans import open_spans  # noqa: PLC0415 - the library is an extra

        return open_spans(protocol)
    except ImportError as error:
        install = (
            INSTALL if protocol == "http/protobuf" else f"{INSTALL} opentelemetry-exporter-otlp-proto-grpc"
        )
        raise Misconfigured(
            f"OTEL_... asks for traces by {protocol}, and {error.name} is not installed: {install}, "
            "or set OTEL_SDK_DISABLED=true"
        ) from error


def traces_of_records(
    headers: Iterable[tuple[tuple[str, bytes | None], ...] | bytes],
) -> Iterable[TraceContext]:
    """The traces that the headers of records name."""
    for each in headers:
        if each and isinstance(each, tuple) and (trace := trace_of(each)) is not None:
            yield trace


@asynccontextmanager
async def tracing() -> AsyncIterator[Tracing]:
    """What the environment asks for, closed at the end."""
    opened = open_tracing()
    try:
        yield opened
    finally:
        await opened.close()
