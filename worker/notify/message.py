"""From an outbox row to the message every channel sends: pure, so that a repeat has the same bytes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId
from bson.decimal128 import Decimal128

from worker.notify.delivery import Message


def message_of(row: Mapping[str, Any]) -> Message:
    """The message of a row: its key is the row's `_id`, its body canonical JSON of fields that never change.

    Raises TypeError or ValueError for a `data` that JSON cannot hold.
    """
    body = {
        "key": row["_id"],
        "kind": row["kind"],
        "stream_id": row["stream_id"],
        "user_id": row["user_id"],
        "course_id": row["course_id"],
        "created_at": row["created_at"],
        "data": row["data"],
    }
    return Message(
        key=row["_id"],
        kind=row["kind"],
        user_id=row["user_id"],
        course_id=row["course_id"],
        created_at=row["created_at"],
        body=orjson.dumps(body, default=_plain, option=_CANONICAL),
    )


# Our own default writes dates with milliseconds and Z, as everywhere else in the platform's JSON.
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


def _plain(value: Any) -> Any:
    if isinstance(value, ObjectId | Decimal128):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a notification")
