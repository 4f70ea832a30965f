"""The job `publish-from-store`: stored events as records of a topic, each stream's in its order.

Whoever reads the topic into the same store finds duplicates; whoever reads it into another one finds new events with
an origin, of which nobody is notified.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import Field, JsonValue, StringConstraints

from worker.contract.family import Inlet
from worker.jobs.context import JobContext
from worker.jobs.job import Job
from worker.jobs.naming import named
from worker.jobs.selected import SelectedStreams
from worker.jobs.sending import sending
from worker.kafka.files import OutgoingRecord
from worker.kafka.stored import Unsent, outgoing
from worker.storage import reading
from worker.storage.event_walk import EventPage, Place, count_events, walk_events
from worker.storage.reading import name_of
from worker.timing import Throttle

NAME: Final = "publish-from-store"

# A step: what a run that is killed publishes once more, which is harmless, and what is in memory at once.
_EVENTS_PER_STEP = 2_000
_BYTES_PER_STEP = 4_000_000
_WRONG = (Unsent.ALTERED, Unsent.NO_EVENT, Unsent.UNREADABLE)


class PublishStored(SelectedStreams):
    """Which events go to which topic, and how many a second at most.

    Those of one inlet: whoever reads the topic takes no others there.
    """

    topic: Annotated[str, StringConstraints(min_length=1, max_length=249)]
    inlet: Inlet = Inlet.INTERACTIONS
    rate: Annotated[int, Field(ge=1)] | None = None


async def publish_stored(context: JobContext, arguments: PublishStored) -> Mapping[str, JsonValue]:
    """Publish what is selected, from where the run has come to; a dry run sends nothing and counts the same.

    1. read some events  2. make records of them  3. wait for their turn, if there is a rate  4. publish, and wait
    until all are acknowledged  5. save the place: whoever is killed before publishes these once more
    """
    checkpoint = dict(context.checkpoint or {})
    told: list[str] = list(checkpoint.get("named", []))
    throttle = Throttle(context.clock, arguments.rate)
    # With a rate a step is a second's worth: the place is never older.
    most = min(_EVENTS_PER_STEP, arguments.rate or _EVENTS_PER_STEP)
    await context.total(await count_events(context.database, arguments.of))
    async with sending(context, arguments.topic) as send:
        begin = Place.of(checkpoint)
        pages = walk_events(context.database, arguments.of, begin, most=most, max_bytes=_BYTES_PER_STEP)
        async for page in pages:  # 1
            records, unsent = await _records(context, page, arguments.inlet)  # 2
            if not context.dry_run:
                await throttle.wait_for(len(records))  # 3
            await context.keep_alive()
            await send(records)  # 4
            wrong = [name for name, why in unsent.items() if why in _WRONG]
            told = named(told, wrong)
            counts = Counter(reason.value for reason in unsent.values())
            place = {**page.place.document(), "named": told}
            await context.advance(len(records) + len(unsent), place, published=len(records), **counts)  # 5
    return {"topic": arguments.topic, "wrong": list(told)}


async def _records(
    context: JobContext, page: EventPage, inlet: Inlet
) -> tuple[list[OutgoingRecord], dict[str, Unsent]]:
    """A record for each event that may be published, and why the others, by id, may not."""
    now, limits = context.clock.now(), context.settings.ingest.limits
    erased = await _erased(context, page)
    records, unsent = [], {name_of(each.id): Unsent.UNREADABLE for each in page.unreadable}
    for event in page.events:
        record = outgoing(event, NAME, now, limits, inlet)
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
