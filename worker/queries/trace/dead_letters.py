"""What became of a record that holds no stored event: a dead letter, a lost record, or nothing that anybody knows."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any
from uuid import UUID

from worker.kafka.record import Partition
from worker.queries.trace.stops import NOT_THERE, THERE, Trace
from worker.storage import reading
from worker.storage.database import Database, Document

_PLACE = "dead_letters"
_WITHOUT_VALUE = {"value": 0, "headers": 0}
# Dead letters that name no event are looked through for its id, the last ones if there are very many.
MOST_SEARCHED = 20_000
_PAGE_BYTES = 8_000_000
# A record that is no valid event has no id that anybody could have noted.
UNNAMED: Mapping[str, Any] = {"kind": "record", "event_id": None, "value": {"$type": "binData"}}


async def of_event(database: Database, event_id: UUID) -> list[Document]:
    """The dead letters of records that hold this event, those in whose bytes the id stands among them."""
    found = await reading.find(database.dead_letters, {"event_id": event_id}, _WITHOUT_VALUE)
    return found.documents or [each async for each in _holding(database, str(event_id).encode())]


async def _holding(database: Database, text: bytes) -> AsyncGenerator[Document]:
    """Of records without an id the bytes are looked at, those of the newest first."""
    recent = {"sort": [("created_at", -1)], "limit": MOST_SEARCHED}
    pages = reading.pages(
        database.dead_letters, UNNAMED, {"value": 1}, most=1_000, max_bytes=_PAGE_BYTES, **recent
    )
    async for page in pages:
        for each in page.documents:
            if text not in bytes(each["value"]).lower():
                continue
            whole = await reading.find_one(database.dead_letters, {"_id": each["_id"]}, _WITHOUT_VALUE)
            if isinstance(whole, dict):
                yield whole


async def at_place(database: Database, partition: Partition, offset: int) -> list[Document]:
    """The dead letters of this record, and the gaps that it was lost in."""
    where = {"topic": partition.topic, "partition": partition.number}
    record = {**where, "kind": "record", "offset": offset}
    gap = {
        **where,
        "kind": "gap",
        "gap.first_offset": {"$lte": offset},
        "gap.last_offset": {"$gte": offset},
    }
    return (await reading.find(database.dead_letters, {"$or": [record, gap]}, _WITHOUT_VALUE)).documents


def trace_dead_letters(trace: Trace, found: list[Document], *, stored: bool) -> None:
    """Each of them is a stop; `stored`: the event is in the event store all the same."""
    for each in found:
        if each["kind"] == "gap":
            gap = each["gap"]
            span = f"offsets {gap['first_offset']:,} to {gap['last_offset']:,} were lost"
            trace.add("lost record", THERE, each["_id"], f"{span}: {each['message']}", each["created_at"])
            continue
        about = f"{each['field']} {each['message']}" if each.get("field") else each["message"]
        sent = f"; sent again {each['redrives']} times" if each.get("redrives") else ""
        trace.add(_PLACE, THERE, each["_id"], f"{each['reason']}: {about}{sent}", each["created_at"])
    if not found:
        why = "no record of this event was refused" if stored else "no dead letter speaks of it"
        trace.add(_PLACE, NOT_THERE, None, why)
