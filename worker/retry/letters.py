"""Dead letters in an operator's hands: look, and put the bytes of one together again."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from worker.contract.codec import record_key
from worker.retry.selection import Entry, Selection
from worker.storage.database import Database, Document
from worker.storage.errors import translated

_WITHOUT_BYTES = {"value": 0}
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Damaged:
    """The bytes of a letter are not those that were put into it."""

    reason: str


async def find_letters(database: Database, selection: Selection, *, redriven: bool = False) -> list[Entry]:
    """The selected letters in the order of their log, without bytes.

    Those that were sent again already are left out unless `redriven`, or named by id. A stream is told by the
    record's key, or by what its value says of learner and course where that can be read.
    """
    query: Document = {"kind": {"$in": ["record", "gap"]}}
    if selection.ids:
        query["_id"] = {"$in": list(selection.ids)}
    elif not redriven:
        query["redrives"] = 0
    if selection.reason:
        query["reason"] = selection.reason
    if selection.since:
        query["created_at"] = {"$gte": selection.since}
    if selection.fingerprint:
        query["fingerprint"] = selection.fingerprint
    order = [("created_at", 1), ("topic", 1), ("partition", 1), ("offset", 1)]
    found = database.dead_letters.find(query, _WITHOUT_BYTES).sort(order)
    if selection.limit and not selection.stream:
        found = found.limit(selection.limit)
    with translated():
        rows = await found.to_list(None)
    if selection.stream:
        rows = [row for row in rows if await _is_of(database, row, selection.stream)]
    return [_entry(row) for row in islice(rows, selection.limit)]


async def show_letter(database: Database, name: str) -> tuple[Document, bytes | Damaged | None] | None:
    """The letter without bytes, and its bytes; None if there is none of that id."""
    with translated():
        letter = await database.dead_letters.find_one({"_id": name, "kind": {"$ne": "part"}}, _WITHOUT_BYTES)
    return None if letter is None else (letter, await read_value(database, letter))


async def read_value(database: Database, letter: Document) -> bytes | Damaged | None:
    """A letter's exact bytes, put together from its parts if it has any; None for a record without value."""
    with translated():
        value = await (_joined if letter["parts"] else _whole)(database, letter)
    if isinstance(value, Damaged) or letter["kind"] != "record":
        return value
    if hashlib.sha256(value or b"").digest() != letter["payload_sha256"]:
        return Damaged("the bytes do not match their checksum")
    return value


async def discard_letters(database: Database, entries: Sequence[Entry]) -> int:
    """Delete letters with their bytes; returns how many. May run twice: the parts go first, then the letter."""
    deleted = 0
    for chunk in _chunks(entries):
        with translated():
            for entry in chunk:
                if entry.document["parts"]:
                    await database.dead_letters.delete_many(_parts(entry.id))
            result = await database.dead_letters.delete_many(
                {"_id": {"$in": [entry.id for entry in chunk]}, "kind": {"$ne": "part"}}
            )
        deleted += result.deleted_count
    return deleted


async def _whole(database: Database, letter: Document) -> bytes | Damaged | None:
    stored = await database.dead_letters.find_one({"_id": letter["_id"]}, {"value": 1})
    return None if stored is None else cast(bytes | None, stored["value"])


async def _joined(database: Database, letter: Document) -> bytes | Damaged | None:
    found = database.dead_letters.find(_parts(letter["_id"]), {"part": 1, "value": 1})
    parts = sorted(await found.to_list(None), key=lambda part: int(part["part"]))
    if [part["part"] for part in parts] != list(range(1, letter["parts"] + 1)):
        return Damaged(f"{len(parts)} of {letter['parts']} parts are there")
    return b"".join(part["value"] for part in parts)


def _parts(name: str) -> Document:
    """The parts of a letter by the range of their ids: `<letter>#<number>`."""
    return {"_id": {"$gte": f"{name}#", "$lt": f"{name}$"}, "kind": "part", "part_of": name}


async def _is_of(database: Database, row: Document, stream: str) -> bool:
    key = row["key"]
    if key is None or _stream(key) is None:
        value = await read_value(database, row)
        key = record_key(value) if isinstance(value, bytes) else None
    return key is not None and _stream(key) == stream


def _stream(key: bytes) -> str | None:
    """The stream a recommended key `<course>:<user>` names; None for any other key."""
    course, separator, user = key.decode("ascii", "replace").partition(":")
    named = bool(separator) and len(course) == len(user) == 24
    return f"course_{course.lower()}_user_{user.lower()}" if named else None


def _entry(row: Document) -> Entry:
    return Entry(
        id=row["_id"],
        fingerprint=row["fingerprint"],
        reason=row["reason"],
        message=row["message"],
        created_at=row["created_at"],
        document=row,
    )


def _chunks(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), _AT_ONCE):
        yield entries[start : start + _AT_ONCE]
