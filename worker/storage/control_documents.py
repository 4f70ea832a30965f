"""Documents of `system_settings` by which operators steer the worker: one for each thing paused, or limited.

The collection is the platform's. Ours begin with `worker_control.`, and there is one of a key in each environment. A
value is a document that says what, who, since when, until when and why; people may write a plain value by hand, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.reading import Unreadable
from worker.storage.updating import in_s, millis

KEY_PREFIX = "worker_control."
"""What the keys of our documents begin with; what they are about follows."""
OURS: Document = {"key": {"$gte": KEY_PREFIX, "$lt": KEY_PREFIX[:-1] + "/"}}
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
# A reason has 500 letters. What is far larger is none of ours, and every process would read it each second.
_MOST_BYTES: Final = 16_384
_LONGEST_KEY: Final = 1_024
# As many are read at once, whatever they are; where there are more, those whose keys mean something come first.
_USUAL: Final = 1_000
_MOST: Final = 10_000
_MOST_BYTES_IN_ALL: Final = 16_000_000
# Counting goes no further, either.
_COUNTED: Final = 100_000
_IS_SMALL: Document = {
    "$and": [
        {"$lte": [{"$bsonSize": "$$ROOT"}, _MOST_BYTES]},
        {"$lte": [{"$strLenBytes": "$key"}, _LONGEST_KEY]},
    ]
}
_SHOWN: Document = {
    "_id": {"$cond": [_IS_SMALL, "$_id", None]},
    "key": {"$cond": [_IS_SMALL, "$key", None]},
    "value": {"$cond": [_IS_SMALL, "$value", None]},
    "size_bytes": {"$bsonSize": "$$ROOT"},
    "left_ms": millis("$value.until", "$$NOW"),
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
class Names:
    """The names that mean something: these, and those that begin with one of `beginnings`, each up to a full stop."""

    exact: Sequence[str] = ()
    beginnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What concerns one environment; `unreadable` are documents that nobody here can decode, or that are too large.

    `unread` are so many more that nobody has looked at, because there are too many.
    """

    documents: Sequence[ControlDocument] = ()
    unreadable: Sequence[Unreadable] = ()
    unread: int = 0


async def read_controls(database: Database, environment: str, names: Names | None = None) -> Found:
    """Our documents, in the order of their keys. Raises Retryable while MongoDB is away.

    Memory and time are bounded, whatever stands there: of thousands those with `names` are read, and few others.
    """
    ours: Document = {**OURS, "environment": environment}
    found = await _read(database, ours, _USUAL + 1)
    if len(found.documents) + len(found.unreadable) <= _USUAL and not found.unread:
        return found
    return await _read_the_known_first(database, ours, names or Names())


async def read_control(database: Database, environment: str, name: str) -> Found:
    """The documents of one name: one, unless somebody has dropped the index."""
    return await _read(database, {"key": KEY_PREFIX + name, "environment": environment}, _USUAL)


async def _read_the_known_first(database: Database, ours: Document, names: Names) -> Found:
    exact: Document = {"key": {"$in": [KEY_PREFIX + each for each in names.exact]}}
    beginning = [_begins_with(KEY_PREFIX + each) for each in names.beginnings]
    of_many = [{"$or": beginning}] if beginning else []
    others: Document = {"$nor": [exact, *beginning]}
    wanted = [(exact, _MOST), *((each, _MOST) for each in of_many), (others, _USUAL)]
    parts = [await _read(database, {"$and": [ours, each]}, most) for each, most in wanted]
    documents = [each for part in parts for each in part.documents]
    unreadable = [each for part in parts for each in part.unreadable]
    with translated():
        number = await database.system_settings.count_documents(ours, limit=_COUNTED)
    return Found(documents, unreadable, max(0, number - len(documents) - len(unreadable)))


def _begins_with(key: str) -> Document:
    return {"key": {"$gte": key, "$lt": key[:-1] + "/"}}


async def _read(database: Database, query: Document, most: int) -> Found:
    """At most so many; `unread` is 1 where bytes ended it before."""
    found = await reading.find(
        database.system_settings,
        query,
        _SHOWN,
        max_bytes=_MOST_BYTES_IN_ALL,
        sort=[("key", 1), ("_id", 1)],
        limit=most,
    )
    large = [row for row in found.documents if row["key"] is None]
    return Found(
        [_document(row) for row in found.documents if row["key"] is not None],
        [*found.unreadable, *map(_too_large, large)],
        0 if found.complete else 1,
    )


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


def _too_large(row: Document) -> Unreadable:
    size = f"a document of {row['size_bytes']:,} bytes"
    return Unreadable(
        "system_settings", size, f"it, or its key, is larger than any of ours ({_MOST_BYTES:,} bytes)"
    )


def _document(row: Document) -> ControlDocument:
    left_ms = row.get("left_ms")
    left_s = left_ms / 1000 if isinstance(left_ms, int | float) else None
    return ControlDocument(str(row["key"]).removeprefix(KEY_PREFIX), row.get("value"), left_s)
