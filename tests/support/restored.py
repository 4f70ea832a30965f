"""A MongoDB that went back in time while Kafka did not: made on a running server, by taking away what came since."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.support.ingest import RunningIngest, event, records, running, send
from tests.support.kafka import durable
from worker.devstack.servers.topics import topic_ends
from worker.ingest.options import IngestOptions
from worker.storage.database import Database
from worker.storage.durable_offsets import Held, OffsetRange, read_held

BEFORE, AFTER = 20, 24


@dataclass(frozen=True, slots=True)
class Restored:
    """A store that was put back to where it had `kept`, after its group had read `lost`, too."""

    chosen: IngestOptions
    kept: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    ranges: Mapping[int, tuple[OffsetRange, ...]]


async def go_back(database: Database, kafka: str, chosen: IngestOptions) -> Restored:
    """Have a worker read two lots of events, and put the store back to where it had the first.

    Each has learners of its own: MongoDB 6 deletes rows by their metadata only.
    """
    topic = chosen.consumer.topics[0]
    kept = [event(number) for number in range(BEFORE)]
    lost = [event(1_000 + number) for number in range(AFTER)]
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, records(kept))
    backup = await database.leases.find({"kind": "partition"}).to_list(None)
    stood = await durable(kafka, topic, 4)
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, records(lost))
    gone = [UUID(each["event_id"]) for each in lost]
    await database.course_events.delete_many({"_id": {"$in": gone}})
    for each in lost:
        await database.user_interactions.delete_many({"metadata.session_id": each["session_id"]})
    for lease in backup:
        await database.leases.replace_one({"_id": lease["_id"]}, lease)
    ends = await durable(kafka, topic, 4)
    ranges = {
        number: (OffsetRange(begin or 0, (end or 0) - 1),)
        for number, (begin, end) in enumerate(zip(stood, ends, strict=True))
        if begin != end
    }
    return Restored(chosen, kept, lost, ranges)


@asynccontextmanager
async def at_rest(database: Database, chosen: IngestOptions, kafka: str) -> AsyncIterator[RunningIngest]:
    """A worker that ends when the group has committed everything."""
    topic = chosen.consumer.topics[0]
    async with running(database, chosen) as ingest:
        yield ingest
        await ingest.until(all_committed(kafka, topic), "everything is committed")


def all_committed(kafka: str, topic: str) -> Callable[[], Awaitable[bool]]:
    """For `until`: true once the group's durable offsets are the ends of the log."""

    async def condition() -> bool:
        return await durable(kafka, topic, 4) == list((await topic_ends(kafka, topic)).values())

    return condition


async def held(database: Database, topic: str) -> dict[int, Held]:
    """What the leases of the topic's partitions say, by partition."""
    found = await read_held(database, [(topic, number) for number in range(4)])
    return {number: each for (_, number), each in found.items()}


def missing(ranges: Mapping[int, Held]) -> dict[int, tuple[OffsetRange, ...]]:
    """The ranges that are missing, by partition."""
    return {number: each.missing for number, each in ranges.items() if each.missing}
