"""The loop many write first: poll 500, `insert_many` twice, commit. No validation, no dedup, no versions."""

import asyncio

import orjson

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.opening import opened
from bench.contestants.shapes import documents
from bench.contestants.task import Task, given

POLL = 500


async def loop(task: Task) -> None:
    """For ever."""
    events, rows, consumer = await opened(task)
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
