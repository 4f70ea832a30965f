"""From an outbox row to the message every channel sends: pure, so that a repeat has the same bytes."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId
from bson.decimal128 import Decimal128

from worker.notify.delivery import Message

# What a body is made of, beside the key.
_FIELDS = ("kind", "stream_id", "user_id", "course_id", "created_at", "data")
# A key becomes a header of every channel: printable ASCII, as all of our own are.
_KEY = re.compile(r"[!-~]{1,256}")


def message_of(row: Mapping[str, Any]) -> Message:
    """The message of a checked row: its key is the row's `_id`, its body canonical JSON of fields that never change.

    Raises TypeError or ValueError, without a value in their words, for a key that no header can hold or a `data` that
    JSON cannot hold.
    """
    if not _KEY.fullmatch(row["_id"]):
        raise ValueError("_id is not a key that a header can hold")
    body = {"key": row["_id"], **{name: row[name] for name in _FIELDS}}
    return Message(
        key=row["_id"],
        kind=row["kind"],
        user_id=row["user_id"],
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
