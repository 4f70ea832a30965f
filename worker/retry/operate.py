"""The queue in an operator's hands: look, try again, discard; what is being tried is never touched."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from worker.chunks import chunks
from worker.contract.identity import failure_fingerprint
from worker.retry.selection import Entry, Selection, identities
from worker.retry.unsent import COLLECTION as NOTIFICATIONS
from worker.retry.unsent import find_unsent, hurry, shown
from worker.storage import reading
from worker.storage.claims import RELEASED
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.reading import Unreadable
from worker.storage.updating import update_each
from worker.storage.work_items import COUNTS_FOLD, event_types, notification_of

State = Literal["pending", "processing", "completed", "failed"]
STATES: tuple[State, ...] = get_args(State)

# What waits for time or for somebody; an item that is being tried is left to its processor.
WAITING: tuple[State, ...] = ("pending", "failed")
DISCARDABLE: tuple[State, ...] = ("pending", "failed", "completed")

_AT_ONCE = 1_000
# When an item was made that does not say so.
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)


async def find_items(
    database: Database, selection: Selection, states: Sequence[State] = STATES
) -> list[Entry]:
    """The selected items of ours in one of `states`, oldest first; one that cannot be read says so.

    Notifications that are not sent yet stand among them: see `unsent`.
    """
    items = await _items(database, selection, states)
    entries = [*items, *await find_unsent(database, selection, states)]
    # Whoever does not say when it was made comes last.
    entries.sort(key=lambda entry: (entry.created_at == _UNKNOWN, entry.created_at))
    return entries[: selection.limit]


async def _items(database: Database, selection: Selection, states: Sequence[State]) -> list[Entry]:
    chosen = selection.query(reason="error_class", stream="stream_id")
    query = {**_ours(database), "status": {"$in": list(states)}, **chosen}
    limit = selection.limit if selection.limit and not selection.fingerprint else 0
    order = [("created_at", 1), ("_id", 1)]
    found = (await reading.find(database.analytics_queue, query, sort=order, limit=limit)).through(_entry)
    entries = [*found.values, *map(_unreadable, found.unreadable)]
    return [entry for entry in entries if selection.fingerprint in (None, entry.fingerprint)]


async def show_item(database: Database, name: str) -> Document | None:
    """The whole item or notification, whoever's it is; None if there is none of that id.

    One that cannot be read says why.
    """
    named = {"_id": {"$in": identities([name])}}
    found = await reading.find_one(database.analytics_queue, named)
    if found is None and isinstance(row := await reading.find_one(database.notifications, named), dict):
        return shown(row)
    return _unreadable(found).document if isinstance(found, Unreadable) else found


async def count_foreign(database: Database) -> int:
    """Items of other types that are not completed: somebody else's, and left alone."""
    others = {"event_type": {"$nin": list(event_types(database.catalogue))}, "status": {"$ne": "completed"}}
    with translated():
        return await database.analytics_queue.count_documents(others)


async def retry_items(database: Database, entries: Sequence[Entry]) -> int:
    """Make the items due now, with all attempts before them; returns how many were still waiting.

    So are notifications; and those that an item is about, beside it.
    """
    pending = {"status": "pending", "retry_count": 0, "due_at": "$$NOW", **RELEASED}
    changed = 0
    for keys in chunks((entry.id for entry in entries if entry.collection == NOTIFICATIONS), _AT_ONCE):
        changed += await hurry(database, keys)
    for ids in chunks((entry.id for entry in entries if entry.collection != NOTIFICATIONS), _AT_ONCE):
        await hurry(database, [key for key in map(notification_of, ids) if key is not None])
        waiting = {**_ours(database), "_id": {"$in": ids}, "status": {"$in": list(WAITING)}}
        changed += (await update_each(database.analytics_queue, waiting, [{"$set": pending}])).matched
    return changed


async def discard_items(database: Database, entries: Sequence[Entry]) -> int:
    """Delete the items, unless one is being tried; returns how many. What an item is about is not touched.

    An open item of counting stays: it is what says that its document's sums are behind. Notifications stay, too.
    """
    deleted = 0
    for ids in chunks((entry.id for entry in entries if entry.collection != NOTIFICATIONS), _AT_ONCE):
        kept = {"event_type": COUNTS_FOLD, "status": {"$ne": "completed"}}
        idle = {**_ours(database), "_id": {"$in": ids}, "status": {"$in": list(DISCARDABLE)}, "$nor": [kept]}
        with translated():
            result = await database.analytics_queue.delete_many(idle)
        deleted += result.deleted_count
    return deleted


def item_fingerprint(row: Document) -> str:
    """Equal for items that failed in the same place of the code: messages hold no values of events."""
    parts = (row.get(name) for name in ("event_type", "error_class", "last_error"))
    return failure_fingerprint(*(part if isinstance(part, str) else "" for part in parts))


def _entry(row: Document) -> Entry:
    made = row["created_at"]
    if not isinstance(made, datetime) or not isinstance(row.get("due_at"), datetime | None):
        raise TypeError("a date that is none")
    return Entry(
        id=row["_id"],
        fingerprint=item_fingerprint(row),
        reason=str(row.get("error_class") or ""),
        message=str(row.get("last_error") or ""),
        created_at=made,
        document={**row, "status": str(row["status"]), "retry_count": row["retry_count"]},
    )


def _unreadable(one: Unreadable) -> Entry:
    row = {
        "_id": one.name,
        "status": "unreadable",
        "retry_count": 0,
        "error_class": "Unreadable",
        "last_error": one.reason,
        "created_at": _UNKNOWN,
    }
    return _entry(row)


def _ours(database: Database) -> Document:
    return {"event_type": {"$in": list(event_types(database.catalogue))}}
