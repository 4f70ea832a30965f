"""Documents of `system_settings` by which operators steer the worker: one for each thing paused, or limited.

The collection is the platform's. Ours begin with `worker_control.`, and there is one of a key in each environment. A
value is a document that says what, who, since when, until when and why; people may write a plain value by hand, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.reading import Unreadable
from worker.storage.updating import in_s, millis

KEY_PREFIX = "worker_control."
"""What the keys of our documents begin with; what they are about follows."""
_BEHIND = KEY_PREFIX[:-1] + "/"
OURS: Document = {"key": {"$gte": KEY_PREFIX, "$lt": _BEHIND}}
"""The documents that are ours, of all environments."""
_TYPE: Document = {"$type": "$value"}
_NO_END: Document = {"$eq": [{"$ifNull": ["$value.until", None]}, None]}
_ENDLESS: Document = {
    "$or": [{"$eq": ["$value", True]}, {"$and": [{"$eq": [_TYPE, "object"]}, _NO_END]}],
}
_LASTS: Document = {
    "$and": [
        {"$eq": [_TYPE, "object"]},
        {"$eq": [{"$type": "$value.until"}, "date"]},
        {"$gt": ["$value.until", "$$NOW"]},
    ]
}
_PLAIN: Document = {"$or": [{"$isNumber": "$value"}, {"$eq": [_TYPE, "string"]}]}
_IN_FORCE: Document = {"$or": [_ENDLESS, _LASTS, _PLAIN]}


@dataclass(frozen=True, slots=True)
class ControlDocument:
    """What somebody wrote under one of our keys. `left_s`: how long it lasts from now on, None for no end.

    The time left is the server's answer: nobody's clock has to be right.
    """

    name: str
    value: Any
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """All that concerns one environment; `unreadable` are documents that nobody here can decode."""

    documents: Sequence[ControlDocument] = ()
    unreadable: Sequence[Unreadable] = ()


async def read_controls(database: Database, environment: str) -> Found:
    """Every document of ours, in the order of their keys. Raises Retryable while MongoDB is away."""
    shown: Document = {"key": 1, "value": 1, "left_ms": millis("$value.until", "$$NOW")}
    pipeline: list[Document] = [
        {"$match": {**OURS, "environment": environment}},
        {"$sort": {"key": 1, "_id": 1}},
        {"$project": shown},
    ]
    found = await reading.aggregate(database.system_settings, pipeline)
    return Found([_document(row) for row in found.documents], found.unreadable)


async def put_control(
    database: Database,
    environment: str,
    name: str,
    value: Mapping[str, Any],
    *,
    until: datetime | float | None = None,
    keep: bool = False,
) -> bool:
    """Write one of our documents, with `since` by the server's clock; False where one was in force there already.

    `until`: a time, or so many seconds from now. `keep`: one in force that has no end stays as it is, and only that
    counts. May run twice. Raises Retryable while MongoDB is away.
    """
    ends: Any = in_s(until) if isinstance(until, int | float) else {"$literal": until}
    given = {field: {"$literal": each} for field, each in value.items()}
    # By an operator: the fields of a bare document would be merged with those that stand there.
    whole: Document = {"$mergeObjects": [{**given, "since": "$$NOW", "until": ends}]}
    written: Document = {"value": {"$cond": [_ENDLESS, "$value", whole]} if keep else whole}
    ours = {"_id": {"$ifNull": ["$_id", f"{KEY_PREFIX}{name}@{environment}"]}}
    named = {"key": KEY_PREFIX + name, "environment": environment}
    counts = _ENDLESS if keep else _IN_FORCE
    try:
        return await _upsert(database, named, {**ours, **written}, counts)
    except DuplicateKeyError:  # somebody else has made it meanwhile, or has our `_id` for something else
        try:
            return await _upsert(database, named, written, counts)
        except DuplicateKeyError as error:
            raise Retryable(f"somebody else writes {KEY_PREFIX}{name} at the same time") from error


async def _upsert(database: Database, named: Document, written: Document, counts: Document) -> bool:
    """False where a document stood there that counts."""
    with translated():
        before = await database.system_settings.find_one_and_update(
            named, [{"$set": written}], {"_id": 0, "counts": counts}, upsert=True
        )
    return before is None or not before["counts"]


async def remove_control(database: Database, environment: str, name: str) -> bool:
    """Delete every document of this name; False where there was none. May run twice."""
    with translated():
        deleted = await database.system_settings.delete_many(
            {"key": KEY_PREFIX + name, "environment": environment}
        )
    return deleted.deleted_count > 0


def _document(row: Document) -> ControlDocument:
    left_ms = row.get("left_ms")
    left_s = left_ms / 1000 if isinstance(left_ms, int | float) else None
    return ControlDocument(str(row["key"]).removeprefix(KEY_PREFIX), row.get("value"), left_s)
