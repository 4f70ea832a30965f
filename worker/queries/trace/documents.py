"""What folds and sums have made of an event: the stream's documents, the rows that count them, and the statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from projections.counts.projection import COUNTS
from projections.event import StoredEvent
from worker.contract.identity import stream_object_id
from worker.queries.explained import Explained
from worker.queries.trace.stops import NOT_KNOWN, NOT_THERE, THERE, Items, Trace, waiting_for
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.reading import Unreadable
from worker.storage.work_items import counts_item_id, fold_item_id


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far the stream's documents have come: whether the row that counts them has the event."""

    counted: bool


def trace_documents(
    trace: Trace, documents: Sequence[Explained], event: StoredEvent, items: Items
) -> Progressed:
    """The stream's documents and counted rows, each of which has the event or says why not."""
    identity = stream_object_id(event.stream_id)
    is_counted = False
    for each in documents:
        what = f"{each.collection} {identity}"
        has_it = each.version is not None and each.version >= event.version
        if has_it and isinstance(each.stored, Mapping):
            at = each.stored.get("recorded_at") or each.stored.get("last_updated")
            trace.add(each.collection, THERE, identity, f"it is at version {each.version}", at)
            is_counted = is_counted or (each.counted_by is not None and each.counted_by.name == COUNTS.name)
        elif isinstance(each.stored, Unreadable):
            trace.add(each.collection, NOT_KNOWN, identity, f"{what} cannot be read: {each.stored.reason}")
        elif each.stored is not None and each.version is None:
            trace.add(each.collection, NOT_KNOWN, identity, "it does not say which events it has seen")
        else:
            trace.add(each.collection, *_why_behind(each, event, items, identity))
    return Progressed(is_counted)


def _why_behind(
    each: Explained, event: StoredEvent, items: Items, identity: ObjectId
) -> tuple[Any, Any, str]:
    stands = "there is no such document yet" if each.stored is None else f"it is at version {each.version}"
    if each.counted_by is None:
        item, role = fold_item_id(event.stream_id, each.projection.name), "progress"
    elif each.counted_by.name == COUNTS.name:
        item, role = counts_item_id("learner", identity), "counts"
    else:
        item, role = fold_item_id(identity, each.counted_by.name), "counts"
    state, why = waiting_for(items, item, f"the role {role} has not come to it: does one run?")
    return state, identity, f"{stands}; {why}"


async def trace_statistics(
    trace: Trace, database: Database, event: StoredEvent, items: Items, progressed: Progressed
) -> None:
    """The documents that show the sums: they hold the event when the row that counts its learner does."""
    for kind, collection, identity in (
        ("course", database.courses, event.course_id),
        ("user", database.users, event.user_id),
    ):
        if identity is None:
            continue
        found = await reading.find_one(collection, {"_id": identity}, {"stats.sums": 1})
        place = f"{collection.name}.stats"
        if found is None:
            why = f"the platform has no such {kind} yet: its statistics are made when it comes"
            trace.add(place, NOT_THERE, identity, why)
        elif not progressed.counted or counts_item_id(kind, identity) in items:
            trace.add(place, *_shown_later(items, kind, identity))
        elif isinstance(found, dict) and isinstance(found.get("stats"), Mapping):
            trace.add(place, THERE, identity, "written in the transaction of the row above")
        else:
            trace.add(
                place, NOT_THERE, identity, "it shows no sums, although the learner is counted: see verify"
            )


def _shown_later(items: Items, kind: str, identity: ObjectId) -> tuple[Any, Any, str]:
    state, why = waiting_for(items, counts_item_id(kind, identity), "it follows the row above")
    return state, identity, why


def item_ids(documents: Sequence[Explained], event: StoredEvent) -> list[str]:
    """The ids of all items of the queue that may speak of these documents and statistics."""
    identity = stream_object_id(event.stream_id)
    ids = [counts_item_id("learner", identity), counts_item_id("course", event.course_id)]
    ids.append(counts_item_id("user", event.user_id))
    for each in documents:
        name = each.projection.name if each.counted_by is None else each.counted_by.name
        ids.append(fold_item_id(event.stream_id if each.counted_by is None else identity, name))
    return ids
