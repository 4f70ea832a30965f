"""How dead letters reach their topics again: the publisher, given to retry, which must not know it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from worker.app.producing import open_publisher
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.retry.redrive import Publish
from worker.settings import Settings

# A dead letter came from a broker, so its brokers take it; this is the largest request a broker accepts by default.
_MAX_REQUEST_BYTES = 100 * 1024 * 1024


@asynccontextmanager
async def open_redriver(settings: Settings, *, idempotent: bool) -> AsyncIterator[Publish]:
    """A function that publishes to any topic; a producer is opened with the first record of its topic."""
    connect = partial(open_publisher, settings, idempotent=idempotent, max_request_bytes=_MAX_REQUEST_BYTES)
    publishers: dict[str, Publisher] = {}
    async with AsyncExitStack() as stack:

        async def publish(topic: str, records: Sequence[OutgoingRecord]) -> None:
            if topic not in publishers:
                publishers[topic] = await stack.enter_async_context(connect(topic))
            await publishers[topic].publish(records)

        yield publish
