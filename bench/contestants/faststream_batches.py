"""FastStream's batch subscriber with two `insert_many`. Runs in the peers' environment."""

import asyncio
from typing import Any

import orjson
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from pymongo import AsyncMongoClient

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.shapes import Document, documents
from bench.contestants.task import Task, given

BATCH = 500


def application(task: Task) -> FastStream:
    """One subscriber, which acknowledges after both inserts."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(task.mongodb_uri, uuidRepresentation="standard")
    events = client[task.content]["course_events"]
    rows = client[task.analytics]["user_interactions"]
    broker = KafkaBroker(task.bootstrap_servers, logger=None)

    @broker.subscriber(  # type: ignore[untyped-decorator]
        task.topic,
        batch=True,
        max_records=BATCH,
        group_id=task.group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_as_it_is,
    )
    async def store(message: Any) -> None:
        made = [documents(orjson.loads(value), offset) for value, offset in message]
        await events.insert_many([event for event, _ in made], ordered=False)
        await rows.insert_many([row for _, row in made], ordered=False)

    return FastStream(broker)


async def _as_it_is(message: Any) -> list[tuple[bytes, int]]:
    """Bytes and offsets, without FastStream's own decoding, which costs more."""
    return [(record.value, record.offset + 1) for record in message.raw_message]


if __name__ == "__main__":
    say_first_fetch()
    asyncio.run(application(given()).run())
