"""The job `publish-from-store`: stored events as records of a topic, each stream's in its order.

Whoever reads the topic into the same store finds duplicates; whoever reads it into another one finds new events with
an origin, of which nobody is notified.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import Field, JsonValue, StringConstraints

from worker.jobs.context import JobContext
from worker.jobs.job import Job
from worker.jobs.selected import SelectedStreams
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.kafka.security import kafka_options
from worker.kafka.stored import Unsent, outgoing
from worker.storage import reading
from worker.storage.event_walk import EventPage, Place, count_events, walk_events
from worker.storage.reading import name_of
from worker.timing import Throttle

NAME: Final = "publish-from-store"

# A step: what a run that is killed publishes once more, which is harmless, and what is in memory at once.
_EVENTS_PER_STEP = 2_000
_BYTES_PER_STEP = 4_000_000
# Enough to see what is wrong; `verify` names them all.
_MOST_NAMED = 20
_WRONG = (Unsent.ALTERED, Unsent.NO_EVENT, Unsent.UNREADABLE)

Send = Callable[[Sequence[OutgoingRecord]], Awaitable[object]]


class PublishStored(SelectedStreams):
    """Which events go to which topic, and how many a second at most."""

    topic: Annotated[str, StringConstraints(min_length=1, max_length=249)]
    rate: Annotated[int, Field(ge=1)] | None = None


async def publish_stored(context: JobContext, arguments: PublishStored) -> Mapping[str, JsonValue]:
    """Publish what is selected, from where the run has come to; a dry run sends nothing and counts the same.

    1. read some events  2. make records of them  3. wait for their turn, if there is a rate  4. publish, and wait
    until all are acknowledged  5. save the place: whoever is killed before publishes these once more
    """
    checkpoint = dict(context.checkpoint or {})
    named: list[str] = list(checkpoint.get("named", []))
    throttle = Throttle(context.clock, arguments.rate)
    # With a rate a step is a second's worth: the place is never older.
    most = min(_EVENTS_PER_STEP, arguments.rate or _EVENTS_PER_STEP)
    await context.total(await count_events(context.database, arguments.of))
    async with _sending(context, arguments.topic) as send:
        begin = Place.of(checkpoint)
        pages = walk_events(context.database, arguments.of, begin, most=most, max_bytes=_BYTES_PER_STEP)
        async for page in pages:  # 1
            records, unsent = await _records(context, page)  # 2
            await throttle.wait_for(len(records))  # 3
            await context.keep_alive()
            await send(records)  # 4
            wrong = [name for name, why in unsent.items() if why in _WRONG]
            named = [*named, *wrong][:_MOST_NAMED]
            counts = Counter(reason.value for reason in unsent.values())
            place = {**page.place.document(), "named": named}
            await context.advance(len(records) + len(unsent), place, published=len(records), **counts)  # 5
    return {"topic": arguments.topic, "wrong": list(named)}


async def _records(context: JobContext, page: EventPage) -> tuple[list[OutgoingRecord], dict[str, Unsent]]:
    """A record for each event that may be published, and why the others, by id, may not."""
    now, limits = context.clock.now(), context.settings.ingest.limits
    erased = await _erased(context, page)
    records, unsent = [], {name_of(each.id): Unsent.UNREADABLE for each in page.unreadable}
    for event in page.events:
        record = outgoing(event, NAME, now, limits)
        if isinstance(record, Unsent):
            unsent[str(event["_id"])] = record
        elif event["event_data"].get("user_id") in erased:
            unsent[str(event["_id"])] = Unsent.ERASED
        else:
            records.append(record)
    return records, unsent


async def _erased(context: JobContext, page: EventPage) -> set[Any]:
    data = [event.get("event_data") for event in page.events]
    users = {each.get("user_id") for each in data if isinstance(each, Mapping)}
    wanted = {"_id": {"$in": [user for user in users if isinstance(user, ObjectId)]}}
    found = await reading.find(context.database.tombstones, wanted, {"_id": 1})
    return {row["_id"] for row in found.documents}


@asynccontextmanager
async def _sending(context: JobContext, topic: str) -> AsyncIterator[Send]:
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


def _found_wrong(outcome: Mapping[str, JsonValue]) -> bool:
    return bool(outcome.get("wrong"))


PUBLISH_STORED = Job(
    NAME,
    PublishStored,
    publish_stored,
    lock=lambda arguments: f"{NAME}:{arguments.topic}",
    about="publish stored events to a topic, where they are duplicates to this store",
    differs=_found_wrong,
)
