"""The same loop with what it lacks, as a competent engineer would add it: validation, dedup, versions.

Contracts are the worker's pydantic models. Still less than the worker does: no fingerprints and conflicts, no dead
letters, no fence, no holes filled; after a crash between the two inserts rows are missing or twice there.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from pymongo.errors import BulkWriteError

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.opening import Collection, opened
from bench.contestants.shapes import documents
from bench.contestants.task import Task, given
from worker.contract.events.interactions import MODELS

POLL = 500
_DUPLICATE_KEY = 11_000


class Versions:
    """Highest version of each stream: read once, then counted here while the partitions are ours."""

    def __init__(self, events: Collection) -> None:
        self._events = events
        self._highest: dict[str, int] = {}

    async def know(self, streams: set[str]) -> None:
        """Read the streams that were not met before."""
        unknown = [stream for stream in streams if stream not in self._highest]
        if not unknown:
            return
        self._highest.update(dict.fromkeys(unknown, 0))
        found = await self._events.aggregate(
            [
                {"$match": {"stream_id": {"$in": unknown}}},
                {"$sort": {"stream_id": -1, "version": -1}},
                {"$group": {"_id": "$stream_id", "highest": {"$first": "$version"}}},
            ]
        )
        async for row in found:
            self._highest[row["_id"]] = row["highest"]

    def next(self, stream: str) -> int:
        """The version that a new event of the stream takes."""
        self._highest[stream] += 1
        return self._highest[stream]


def valid(value: bytes) -> Mapping[str, Any] | None:
    """The fields of a record that keeps the contract."""
    try:
        fields: dict[str, Any] = orjson.loads(value)
        MODELS[fields["event_type"]].model_validate(fields)
    except (ValueError, KeyError, TypeError):
        return None
    return fields


async def store(
    batch: list[Mapping[str, Any]],
    events: Collection,
    rows: Collection,
    versions: Versions,
) -> None:
    """1. drop what is stored  2. versions  3. events  4. rows of those that were inserted."""
    # 1.
    fresh = {UUID(fields["event_id"]): fields for fields in batch}
    async for known in events.find({"_id": {"$in": list(fresh)}}, {"_id": 1}):
        fresh.pop(known["_id"], None)
    if not fresh:
        return
    # 2.
    streams = {
        event_id: f"course_{fields['course_id']}_user_{fields['user_id']}"
        for event_id, fields in fresh.items()
    }
    await versions.know(set(streams.values()))
    made = [documents(fields, versions.next(streams[event_id])) for event_id, fields in fresh.items()]
    # 3.
    lost: set[int] = set()
    try:
        await events.insert_many([event for event, _ in made], ordered=False)
    except BulkWriteError as error:
        lost = {each["index"] for each in error.details["writeErrors"]}
        if any(each["code"] != _DUPLICATE_KEY for each in error.details["writeErrors"]):
            raise
    # 4.
    if left := [row for index, (_, row) in enumerate(made) if index not in lost]:
        await rows.insert_many(left, ordered=False)


async def loop(task: Task) -> None:
    """For ever."""
    events, rows, consumer = await opened(task)
    versions = Versions(events)
    while True:
        polled = await consumer.getmany(timeout_ms=500, max_records=POLL)
        read = [valid(record.value) for records in polled.values() for record in records]
        if read:
            await store([fields for fields in read if fields is not None], events, rows, versions)
            await consumer.commit()


if __name__ == "__main__":
    say_first_fetch()
    asyncio.run(loop(given()))
