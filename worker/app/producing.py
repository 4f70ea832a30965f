"""A publisher from the settings: as secure as the worker itself, and as clear about why a broker says no."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from worker.app.dependencies import unreachable
from worker.errors import Misconfigured, Retryable, TopicMissing
from worker.kafka.producer import MAX_REQUEST_BYTES, Publisher
from worker.kafka.security import diagnose_connection, kafka_options
from worker.settings import Settings, variable
from worker.timing import SystemClock


@asynccontextmanager
async def open_publisher(
    settings: Settings, topic: str, *, idempotent: bool, max_request_bytes: int = MAX_REQUEST_BYTES
) -> AsyncIterator[Publisher]:
    """A connected publisher on `topic`; flushed and closed at the end.

    Raises `Misconfigured` for a user or a certificate that is not accepted, `Unreachable` when no broker answers, and
    `TopicMissing`.
    """
    options = kafka_options(settings.kafka)
    publisher = Publisher(
        settings.kafka.bootstrap_servers,
        topic,
        clock=SystemClock(),
        idempotent=idempotent,
        kafka=options,
        max_request_bytes=max_request_bytes,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(publisher)
        except TopicMissing as error:
            hint = f", or look at {variable('topic')}" if topic == settings.ingest.topic else ""
            raise TopicMissing(f"{error}{hint}") from error
        except Retryable as error:
            reason = await diagnose_connection(settings.kafka.bootstrap_servers, options) or error
            if isinstance(reason, Misconfigured):
                raise reason from error
            raise unreachable("kafka", str(reason), variable("kafka_bootstrap_servers")) from error
        yield publisher
