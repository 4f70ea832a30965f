"""Where the records of a job go: to a topic, or nowhere in a dry run, for which no broker is asked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from worker.jobs.context import JobContext
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.kafka.security import kafka_options

Send = Callable[[Sequence[OutgoingRecord]], Awaitable[object]]


@asynccontextmanager
async def sending(context: JobContext, topic: str) -> AsyncIterator[Send]:
    """What sends records to the topic and returns when all are acknowledged; in a dry run it does nothing."""
    if context.dry_run:
        yield _send_nothing
        return
    kafka = context.settings.kafka
    async with Publisher(
        kafka.bootstrap_servers, topic, clock=context.clock, kafka=kafka_options(kafka)
    ) as publisher:
        yield publisher.publish


async def _send_nothing(_records: Sequence[OutgoingRecord]) -> None:
    """Nothing leaves in a dry run."""
