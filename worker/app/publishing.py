"""A publisher from the settings: as secure as the worker itself, and as clear about why a broker says no."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from worker.app.kafka import kafka_options, why_silent
from worker.errors import Retryable
from worker.publish.publisher import MAX_REQUEST_BYTES, Publisher
from worker.settings import Settings
from worker.timing import SystemClock


@asynccontextmanager
async def open_publisher(
    settings: Settings, topic: str, *, idempotent: bool, max_request_bytes: int = MAX_REQUEST_BYTES
) -> AsyncIterator[Publisher]:
    """A connected publisher on `topic`; flushed and closed at the end.

    Raises `Misconfigured` for a user or a certificate that is not accepted, `Retryable` when no broker answers.
    """
    options = kafka_options(settings)
    publisher = Publisher(
        settings.kafka_bootstrap_servers,
        topic,
        clock=SystemClock(),
        idempotent=idempotent,
        kafka=options,
        max_request_bytes=max_request_bytes,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(publisher)
        except Retryable as error:
            raise await why_silent(settings.kafka_bootstrap_servers, options) or error from error
        yield publisher
