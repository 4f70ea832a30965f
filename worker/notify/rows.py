"""A row of the outbox as it must be to be sent: what somebody made another thing of is found before the claim."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson import Code, ObjectId

from worker.storage.database import Document

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "_id": str,
    "kind": str,
    "stream_id": str,
    "status": str,
    "user_id": ObjectId,
    "course_id": ObjectId,
    "created_at": datetime,
    "due_at": datetime,
    "attempts": int,
    "data": dict,
}


def checked(row: Document) -> Document:
    """The row; TypeError or KeyError for one that no worker wrote like this."""
    for name, kind in _TYPES.items():
        # BSON's code is a text for Python, too, that no set takes.
        if not isinstance(row[name], kind) or isinstance(row[name], Code):
            raise TypeError(f"{name} is of another type")
    if not isinstance(row.get("refusals", 0), int) or not _is_text(row, "lease_owner", "last_error"):
        raise TypeError("a field is of another type")
    return row


def _is_text(row: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(row.get(name), str | None) for name in names)
