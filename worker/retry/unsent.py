"""Notifications that are not sent yet, as operators see and hurry them beside the items of the queue.

They stay in the outbox, which its own role works on: here they are found, and made due. None is ever deleted: its
key is what keeps a milestone from being announced twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.contract.identity import failure_fingerprint
from worker.retry.selection import Entry, Selection
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.outbox import WAITS_FOR_DOCUMENT
from worker.storage.updating import update_each
from worker.storage.work_items import NOTIFICATION_SEND

COLLECTION = "notifications"

# What the queue calls the states of a row that is not done.
_STATES: Mapping[str, str] = {"pending": "pending", "processing": "taken", "failed": "failed"}
_STATUS = {status: state for state, status in _STATES.items()}


async def find_unsent(database: Database, selection: Selection, states: Sequence[str]) -> list[Entry]:
    """The selected notifications in one of these states of the queue, oldest first.

    One that nobody can read, or that waits for a document nobody can read, is told by its item of the queue alone.
    """
    statuses = [_STATES[state] for state in states if state in _STATES]
    query = {"status": {"$in": statuses}, **selection.query(stream="stream_id")}
    by_us = selection.reason or selection.fingerprint or not selection.limit
    limit = 0 if by_us else selection.limit
    order = [("created_at", 1), ("_id", 1)]
    found = await reading.find(database.notifications, query, sort=order, limit=limit)
    entries = found.through(_entry).values
    return [
        entry
        for entry in entries
        if selection.reason in (None, entry.reason)
        and selection.fingerprint in (None, entry.fingerprint)
        and not entry.message.startswith(WAITS_FOR_DOCUMENT)
    ]


async def hurry(database: Database, keys: Sequence[str]) -> int:
    """Make notifications due now that wait or were given up, with all refusals before them; how many."""
    waiting = {"_id": {"$in": list(keys)}, "status": {"$in": ["pending", "failed"]}}
    pending = {"status": "pending", "due_at": "$$NOW", "refusals": 0}
    return (await update_each(database.notifications, waiting, [{"$set": pending}])).matched


def shown(row: Mapping[str, Any]) -> Document:
    """A row of the outbox in the words of the queue, beside its own."""
    return {
        **row,
        "event_type": NOTIFICATION_SEND,
        "status": _STATUS.get(row["status"], row["status"]),
        "retry_count": row["attempts"],
        "error_class": _reason(row),
    }


def _reason(row: Mapping[str, Any]) -> str:
    """Whether the receiver refused it or was not there, as far as the row tells."""
    if row["status"] == "failed" or (row.get("refusals") and row["last_error"]):
        return "Refused"
    return "Unavailable" if row["last_error"] else ""


def _entry(row: Document) -> Entry:
    """KeyError or TypeError for a row that is none."""
    reason, message = _reason(row), row["last_error"] or ""
    fingerprint = failure_fingerprint(NOTIFICATION_SEND, reason, message)
    return Entry(row["_id"], fingerprint, reason, message, row["created_at"], shown(row), COLLECTION)
