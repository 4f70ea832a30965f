"""The loop many write first: poll 500, `insert_many` twice, commit. No validation, no dedup, no versions."""

import asyncio

import orjson
from aiokafka import AIOKafkaConsumer
from pymongo import AsyncMongoClient

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.shapes import Document, documents
from bench.contestants.task import Task, given

POLL = 500


async def loop(task: Task) -> None:
    """For ever."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(task.mongodb_uri, uuidRepresentation="standard")
    events = client[task.content]["course_events"]
    rows = client[task.analytics]["user_interactions"]
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap_servers,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    while True:
        polled = await consumer.getmany(timeout_ms=500, max_records=POLL)
        made = [
            documents(orjson.loads(record.value), record.offset + 1)
            for records in polled.values()
            for record in records
        ]
        if made:
            await events.insert_many([event for event, _ in made], ordered=False)
            await rows.insert_many([row for _, row in made], ordered=False)
            await consumer.commit()


if __name__ == "__main__":
    say_first_fetch()
    asyncio.run(loop(given()))
