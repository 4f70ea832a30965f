"""Updates of many documents that somebody else may have written: one that refuses stops no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import WriteError

from worker.errors import Refused, Retryable
from worker.storage import reading
from worker.storage.database import CODEC_OPTIONS, WRITE_CONCERN, Collection, Document
from worker.storage.errors import failed_statements, translated

# Looked at one by one, where all together were refused.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Updated:
    """How many documents matched and were changed, and which ones the server refused to change, with its code."""

    matched: int = 0
    changed: int = 0
    refused: Mapping[Any, int] = field(default_factory=dict)


async def update_each(
    collection: Collection, query: Mapping[str, Any], update: Sequence[Mapping[str, Any]]
) -> Updated:
    """Update what matches, all but the documents that the server refuses. May run twice where the update may.

    One command, as long as nothing is refused; then the first thousand of them, one by one.
    """
    try:
        with translated():
            result = await collection.update_many(query, update)
        return Updated(result.matched_count, result.modified_count)
    except (Refused, WriteError):
        return await _one_by_one(collection, query, update)


async def _one_by_one(
    collection: Collection, query: Mapping[str, Any], update: Sequence[Mapping[str, Any]]
) -> Updated:
    found = await reading.find(collection, query, {"_id": 1}, limit=_AT_ONCE)
    ids = [row["_id"] for row in found.documents if isinstance(row["_id"], reading.IDENTITIES)]
    return await send_each(collection, [(each, {"$and": [{"_id": each}, query]}, update) for each in ids])


async def send_each(
    collection: Collection, updates: Sequence[tuple[Any, Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> Updated:
    """One command of updates: for whom each is, its query, what to do. May run twice where the updates may.

    Refusals are told by whom the update is for. The driver cannot be asked: the server quotes what it refuses, and
    where the driver cannot decode that it knows nothing of the others either.
    """
    if not updates:
        return Updated()
    statements = [_statement(query, update) for _, query, update in updates]
    wanted = {"update": collection.name, "updates": statements, "ordered": False}
    with translated():
        reply = await reading.command(collection.database, {**wanted, "writeConcern": WRITE_CONCERN.document})
    if "writeConcernError" in reply:
        raise Retryable("written, but not acknowledged by a majority")
    errors = [(each["index"], each["code"]) for each in reply.get("writeErrors", ())]
    if (error := failed_statements([(code, "") for _, code in errors])) is not None:
        raise error
    refused = {updates[index][0]: code for index, code in errors}
    return Updated(reply["n"], reply["nModified"], refused)


def _statement(query: Mapping[str, Any], update: Sequence[Mapping[str, Any]]) -> RawBSONDocument:
    """As our own handles encode it: `reading.command` is lenient, and does not know how to write a UUID."""
    return RawBSONDocument(bson.encode({"q": query, "u": list(update)}, codec_options=CODEC_OPTIONS))


def in_s(seconds: float) -> Document:
    """So many seconds from now by the server's time, as an expression."""
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def millis(end: str | Document, start: str | Document) -> Document:
    """The milliseconds between two values, as an expression; null where one of them is no date of our era."""
    usual = [{"$and": [{"$eq": [{"$type": each}, "date"]}, _usual(each)]} for each in (end, start)]
    return {"$cond": [{"$and": usual}, {"$subtract": [end, start]}, None]}


def _usual(value: str | Document) -> Document:
    # Further away a difference does not fit its 64 bits.
    first, last = reading.FIRST_DATE, reading.LAST_DATE
    return {"$and": [{"$gte": [value, first]}, {"$lte": [value, last]}]}
