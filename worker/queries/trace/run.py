"""`trace`: one event on its way, from the record in Kafka to the last row that follows from it. Only reads."""

from collections.abc import Sequence
from uuid import UUID

from projections.counts.projection import COUNTS
from projections.event import VOID, StoredEvent
from worker.contract.reserved import is_reserved
from worker.contract.trace_context import TraceContext, trace_in, trace_of
from worker.errors import Refused
from worker.kafka.record import Partition
from worker.queries.explained import documents_of
from worker.queries.trace.dead_letters import at_place, of_event, trace_dead_letters
from worker.queries.trace.documents import item_ids, trace_documents, trace_statistics
from worker.queries.trace.log import Look, Seen
from worker.queries.trace.named import Place, event_id_in, parse_asked, user_in
from worker.queries.trace.rows import (
    row_item_ids,
    step_of,
    trace_notifications,
    trace_payment,
    trace_series_row,
)
from worker.queries.trace.stops import NOT_KNOWN, NOT_THERE, THERE, WAITS, Items, Trace
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.models import SkippedVersion
from worker.storage.reading import Unreadable
from worker.storage.skipped_versions import skips_of
from worker.storage.work_items import OPEN


async def trace(database: Database, asked: str, look: Look) -> Trace:
    """Follow one event: every place it comes to, in order, with its time there, or why it is not there.

    1. the record, if that is what is known  2. the stored event  3. its record  4. dead letters and lost records
    5. everything that follows from a stored event. Raises `NotTraceable`; Retryable while MongoDB is away.
    """
    result, named = Trace(asked), parse_asked(asked)
    seen, event_id = None, named if isinstance(named, UUID) else None
    # 1.
    if not isinstance(named, UUID):
        seen = await look(*named)
        event_id = event_id_in(seen.record)
    # 2.
    stored = None if event_id is None else await _stored(database, event_id)
    result.event_id = None if event_id is None else str(event_id)
    dead_letters = await _dead_letters(database, named, event_id, seen, is_stored=stored is not None)
    # 3.
    source = named if not isinstance(named, UUID) else _source_of(stored) or _place_of(dead_letters)
    seen = seen or (Seen(why="") if source is None else await look(*source))
    _trace_record(result, source, seen, event_id, stored)
    # 4.
    context = await _context(database, stored, seen, dead_letters)
    result.trace_id = None if context is None else context.trace_id
    if stored is None:
        trace_dead_letters(result, dead_letters, stored=False)
        await _trace_absence(result, database, source, seen, dead_letters)
        return result
    # 5.
    _trace_stored(result, stored)
    if dead_letters:
        trace_dead_letters(result, dead_letters, stored=True)
    if stored["event_type"] != VOID:
        acknowledged = None if source is None else seen.acknowledged(source[1])
        await _follow(result, database, stored, acknowledged=acknowledged)
    return result


async def _stored(database: Database, event_id: UUID) -> Document | None:
    found = await reading.find_one(database.course_events, {"_id": event_id})
    if isinstance(found, Unreadable):
        raise Refused(f"event {event_id} is stored, and cannot be read: {found.reason}")
    return found


async def _dead_letters(
    database: Database, named: UUID | Place, event_id: UUID | None, seen: Seen | None, *, is_stored: bool
) -> list[Document]:
    """Dead letters and gaps of the record that was named, or of any that holds the event."""
    if not isinstance(named, UUID):
        return await at_place(database, *named)
    if is_stored:
        found = await reading.find(database.dead_letters, {"event_id": event_id}, {"value": 0, "headers": 0})
        return found.documents
    return await of_event(database, named)


async def _context(
    database: Database, stored: Document | None, seen: Seen, dead_letters: Sequence[Document]
) -> TraceContext | None:
    """The trace that is kept with the event; where it is not stored, the one its record or dead letter names."""
    if stored is not None:
        return trace_in(stored)
    if seen.record is not None and isinstance(seen.record.headers, tuple):
        return trace_of(seen.record.headers)
    if not dead_letters:
        return None
    kept = await reading.find_one(database.dead_letters, {"_id": dead_letters[0]["_id"]}, {"headers": 1})
    headers = kept.get("headers") if isinstance(kept, dict) else None
    known = [
        each for each in headers or () if isinstance(each, dict) and isinstance(each.get("value"), bytes)
    ]
    return trace_of((str(each.get("key")), each["value"]) for each in known)


def _trace_record(
    result: Trace, source: Place | None, seen: Seen, event_id: UUID | None, stored: Document | None
) -> None:
    origin = (stored or {}).get("metadata", {}).get("origin")
    brought = f"; brought by {origin}" if origin else ""
    if source is None:
        why = "no record: the worker made it" if stored else "nothing that is stored names a record"
        result.add("record", NOT_KNOWN, None, f"{why}{brought}")
        return
    partition, offset = source
    what = _written(partition, offset)
    if seen.record is None:
        result.add("record", NOT_THERE if seen.known else NOT_KNOWN, what, f"{seen.why}{brought}")
    elif event_id is not None and event_id_in(seen.record) not in (None, event_id):
        other = "the log holds another event there: the topic was made anew since"
        result.add("record", NOT_THERE, what, f"{other}{brought}", seen.record.timestamp)
    else:
        key, stored_from = seen.record.key, _source_of(stored)
        named = "no key" if key is None else f"key {key.decode(errors='backslashreplace')}"
        again = ""
        if stored_from is not None and stored_from != source:
            again = f"; the event was stored from {_written(*stored_from)}, not from here"
        result.add("record", THERE, what, f"{named}{brought}{again}", seen.record.timestamp)


def _trace_stored(result: Trace, stored: Document) -> None:
    result.stream, result.version = stored["stream_id"], stored["version"]
    kind = (
        "a void: it holds a version number, nothing else"
        if stored["event_type"] == VOID
        else stored["event_type"]
    )
    occurred = f", occurred {stored['occurred_at'].isoformat()}" if stored["event_type"] != VOID else ""
    what = f"{stored['stream_id']} version {stored['version']}"
    result.add("course_events", THERE, what, f"{kind}{occurred}", stored["recorded_at"])


async def _trace_absence(
    result: Trace, database: Database, source: Place | None, seen: Seen, dead_letters: Sequence[Document]
) -> None:
    """Why there is no stored event, as far as anything that is stored or in the log says so."""
    if dead_letters:
        lost = dead_letters[0]["kind"] == "gap"
        why = "the record was lost before it could be read" if lost else "its record became a dead letter"
        result.add("course_events", NOT_THERE, None, why)
        return
    user = user_in(seen.record)
    tombstone = None if user is None else await reading.find_one(database.tombstones, {"_id": user})
    if source is None:
        why = "no event has this id; name its record (topic:partition:offset) if you know it"
        result.add("course_events", NOT_THERE, None, why)
    elif isinstance(tombstone, dict):
        result.add("course_events", NOT_THERE, None, "the learner was erased", tombstone.get("created_at"))
    elif seen.record is not None and seen.record.value is None:
        result.add("course_events", NOT_THERE, None, "a record without a value holds no event")
    elif seen.acknowledged(source[1]) is False:
        why = f"the role ingest has not come to it: its group goes on at offset {seen.committed:,}"
        result.add("course_events", WAITS, None, why)
    else:
        result.add("course_events", NOT_KNOWN, None, "nothing that is stored says what became of it")


async def _follow(result: Trace, database: Database, stored: Document, *, acknowledged: bool | None) -> None:
    event = StoredEvent.from_document(stored)
    documents = await documents_of(database, event.stream_id)
    items = await _open_items(database, [*item_ids(documents, event), *row_item_ids(event)])
    await trace_series_row(result, database, event, acknowledged=acknowledged)
    if (decision := await _skipped(database, event)) is not None:
        why = (
            f"{decision.who} left it out of {decision.projection}: {decision.reason}; nothing follows from it"
        )
        result.add("skipped_versions", THERE, decision.id, why, decision.decided_at)
        return
    progressed = trace_documents(result, documents, event, items)
    counting = [
        each for each in documents if each.counted_by is not None and each.counted_by.name == COUNTS.name
    ]
    if is_reserved(event.stream_id):
        why = "its ids are the canary's: nothing is counted, announced or billed"
        result.add(COUNTS.counted.collection, NOT_THERE, None, why)
    if counting:
        await trace_statistics(result, database, event, items, progressed)
        step = await step_of(database, counting[0].projection, event)
        await trace_notifications(result, database, step, items, progressed)
        await trace_payment(result, database, event, items)
    for name, item in items.items():
        result.add(
            "analytics_queue",
            THERE,
            name,
            f"{item.get('status')}: {item.get('last_error')}",
            item.get("created_at"),
        )


async def _skipped(database: Database, event: StoredEvent) -> SkippedVersion | None:
    """The decision that leaves the event out of the records, from which everything else follows."""
    skips = await skips_of(database, COUNTS.source, [event.stream_id])
    decision = skips.by_place.get((event.stream_id, event.version))
    return decision if decision is not None and decision.event_id == event.event_id else None


async def _open_items(database: Database, ids: Sequence[str]) -> Items:
    found = await reading.find(
        database.analytics_queue, {"_id": {"$in": list(ids)}, "status": {"$in": list(OPEN)}}
    )
    return {item["_id"]: item for item in found.documents}


def _written(partition: Partition, offset: int) -> str:
    """A record's place as it may be asked for."""
    return f"{partition.topic}:{partition.number}:{offset}"


def _source_of(stored: Document | None) -> Place | None:
    source = ((stored or {}).get("metadata") or {}).get("source")
    return None if source is None else (Partition(source["topic"], source["partition"]), source["offset"])


def _place_of(dead_letters: Sequence[Document]) -> Place | None:
    records = [each for each in dead_letters if each["kind"] == "record"]
    return (
        (Partition(records[0]["topic"], records[0]["partition"]), records[0]["offset"]) if records else None
    )
