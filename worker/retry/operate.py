"""The queue in an operator's hands: look, try again, discard; what is being tried is never touched."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, get_args

from worker.retry.selection import Entry, Selection, failure_fingerprint, identities
from worker.storage.database import Database, Document
from worker.storage.errors import translated

State = Literal["pending", "processing", "completed", "failed"]
STATES: tuple[State, ...] = get_args(State)

# What waits for time or for somebody; an item that is being tried is left to its processor.
WAITING: tuple[State, ...] = ("pending", "failed")
DISCARDABLE: tuple[State, ...] = ("pending", "failed", "completed")

_AT_ONCE = 1_000


async def find_items(
    database: Database, selection: Selection, states: Sequence[State] = STATES
) -> list[Entry]:
    """The selected items in one of `states`, oldest first."""
    query: Document = {"status": {"$in": list(states)}}
    if selection.ids:
        query["_id"] = {"$in": identities(selection.ids)}
    if selection.reason:
        query["error_class"] = selection.reason
    if selection.since:
        query["created_at"] = {"$gte": selection.since}
    if selection.stream:
        query["stream_id"] = selection.stream
    found = database.analytics_queue.find(query).sort([("created_at", 1), ("_id", 1)])
    if selection.limit and not selection.fingerprint:
        found = found.limit(selection.limit)
    with translated():
        rows = await found.to_list(None)
    entries = (_entry(row) for row in rows)
    same = (entry for entry in entries if selection.fingerprint in (None, entry.fingerprint))
    return list(islice(same, selection.limit))


async def show_item(database: Database, name: str) -> Document | None:
    """The whole item, None if there is none of that id."""
    with translated():
        return await database.analytics_queue.find_one({"_id": {"$in": identities([name])}})


async def retry_items(database: Database, entries: Sequence[Entry]) -> int:
    """Make the items due now, with all attempts before them; returns how many were still waiting."""
    anew = {
        "status": "pending",
        "retry_count": 0,
        "due_at": "$$NOW",
        "lease_owner": None,
        "lease_until": None,
    }
    changed = 0
    for ids in _chunks(entry.id for entry in entries):
        waiting = {"_id": {"$in": ids}, "status": {"$in": list(WAITING)}}
        with translated():
            result = await database.analytics_queue.update_many(waiting, [{"$set": anew}])
        changed += result.matched_count
    return changed


async def discard_items(database: Database, entries: Sequence[Entry]) -> int:
    """Delete the items, unless one is being tried; returns how many. What an item is about is not touched."""
    deleted = 0
    for ids in _chunks(entry.id for entry in entries):
        idle = {"_id": {"$in": ids}, "status": {"$in": list(DISCARDABLE)}}
        with translated():
            result = await database.analytics_queue.delete_many(idle)
        deleted += result.deleted_count
    return deleted


def item_fingerprint(row: Document) -> str:
    """Equal for items that failed in the same place of the code: messages hold no values of events."""
    return failure_fingerprint(row.get("event_type"), row.get("error_class"), row.get("last_error"))


def _entry(row: Document) -> Entry:
    return Entry(
        id=row["_id"],
        fingerprint=item_fingerprint(row),
        reason=row.get("error_class") or "",
        message=row.get("last_error") or "",
        created_at=row["created_at"],
        document=row,
    )


def _chunks(ids: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(ids)
    while chunk := list(islice(rest, _AT_ONCE)):
        yield chunk
