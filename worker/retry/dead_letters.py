"""Dead letters in an operator's hands: look, and put the bytes of one together again.

Dead letters are many, and each may be large: what is in memory at once is a page of them without their bytes, or
the bytes of one.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from worker.chunks import chunks
from worker.contract.codec import stream_of
from worker.contract.identity import stream_id
from worker.retry.selection import Entry, Selection
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.record_headers import HeadersBroken, decode_headers

# What says where a dead letter is from and why: a few hundred bytes. Keys and headers are up to 64 KiB each.
_SHORT = dict.fromkeys(
    ("kind", "reason", "field", "message", "topic", "partition", "offset", "created_at", "fingerprint"), 1
) | dict.fromkeys(("redrives", "size_bytes", "parts"), 1)
_WITHOUT_VALUE = {"value": 0}
# Dead letters read at once, a page; with their keys and headers some 25 MB at most.
_PAGE = 200
_AT_ONCE = 1_000
# A larger value holds no event whose learner could be read.
_LONGEST_EVENT = 4_000_000

Header = tuple[str | bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Damaged:
    """The bytes of a dead letter are not those that were put into it."""

    reason: str


_CHANGED = Damaged("the bytes do not match their checksum")


@dataclass(frozen=True, slots=True)
class Kept:
    """All bytes of a dead letter's record; the name of a header is bytes where it is no text."""

    key: bytes | None
    headers: Sequence[Header]
    value: bytes | None

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory and on its way: each header has some bytes of its own."""
        headers = sum(len(name) + len(value or b"") + 100 for name, value in self.headers)
        return len(self.value or b"") + len(self.key or b"") + headers


async def find_names(database: Database, selection: Selection, *, redriven: bool = False) -> list[str]:
    """Ids of the selected dead letters in the order of their log.

    Those that were sent again already are left out unless `redriven`, or named by id. A stream is told by the
    record's key where that names a learner and a course, or by what its value says it is about.
    """
    chosen = selection.query(reason="reason", fingerprint="fingerprint")
    query = {"kind": {"$in": ["record", "gap"]}, **chosen}
    if not selection.ids and not redriven:
        query["redrives"] = 0
    order = [("created_at", 1), ("topic", 1), ("partition", 1), ("offset", 1)]
    found = database.dead_letters.find(query, {"_id": 1}).sort(order)
    if selection.limit and not selection.stream:
        found = found.limit(selection.limit)
    names: list[str] = []
    with translated():
        async for row in found:
            if selection.stream and not await _is_of(database, row["_id"], selection.stream):
                continue
            names.append(row["_id"])
            if len(names) == selection.limit:
                break
    return names


async def pages(
    database: Database, names: Sequence[str], *, with_headers: bool = False
) -> AsyncIterator[list[Entry]]:
    """These dead letters page by page, in this order; `with_headers` also keys and headers, never their values."""
    for page in chunks(names, _PAGE):
        fields = _WITHOUT_VALUE if with_headers else _SHORT
        with translated():
            rows = await database.dead_letters.find({"_id": {"$in": page}}, fields).to_list(None)
        by_name = {row["_id"]: row for row in rows}
        yield [_entry(by_name[name]) for name in page if name in by_name]


async def show_dead_letter(
    database: Database, name: str, first_bytes: int | None = None
) -> tuple[Document, bytes | Damaged | None] | None:
    """The dead letter without bytes, and its bytes, or no more than the first; None if there is none of that id."""
    dead_letter = await _one(database, name, _WITHOUT_VALUE)
    if dead_letter is None:
        return None
    return dead_letter, await read_value(database, dead_letter, first_bytes)


async def read_value(
    database: Database, dead_letter: Document, first_bytes: int | None = None
) -> bytes | Damaged | None:
    """A dead letter's exact bytes, put together from its parts if it has any; None for a record without value.

    With `first_bytes` all are checked and no more than these are kept.
    """
    name, count = dead_letter["_id"], dead_letter["parts"]
    expected = dead_letter["payload_sha256"] if dead_letter["kind"] == "record" else None
    if count:
        return await _joined(database, name, "value", count, expected, first_bytes)
    if "value" not in dead_letter:
        stored = await _one(database, name, {"value": 1, "without_bytes": 1})
        if stored is None:
            return None
        dead_letter = dead_letter | stored
    if dead_letter.get("without_bytes"):
        return Damaged("the store refused the bytes when the dead letter was made")
    value: bytes | None = dead_letter["value"]
    if expected is not None and hashlib.sha256(value or b"").digest() != expected:
        return _CHANGED
    return value[:first_bytes] if value is not None else None


async def read_kept(database: Database, name: str) -> tuple[Document, Kept | Damaged] | None:
    """A dead letter, and all bytes of its record; None if there is none of that id (any more)."""
    dead_letter = await _one(database, name)
    if dead_letter is None:
        return None
    key: Any = dead_letter["key"]
    headers: Any = [(header["key"], header["value"]) for header in dead_letter["headers"]]
    value = await read_value(database, dead_letter)
    if "key_parts" in dead_letter:
        key = await _joined(database, name, "key", dead_letter["key_parts"], dead_letter["key_sha256"])
    if "headers_parts" in dead_letter:
        encoded = await _joined(
            database, name, "headers", dead_letter["headers_parts"], dead_letter["headers_sha256"]
        )
        headers = _decoded(encoded) if isinstance(encoded, bytes) else encoded
    short = {name: stated for name, stated in dead_letter.items() if name not in ("key", "headers", "value")}
    for each in (value, key, headers):
        if isinstance(each, Damaged):
            return short, each
    return short, Kept(key, headers, value)  # type: ignore[arg-type]


async def discard_dead_letters(database: Database, names: Sequence[str]) -> int:
    """Delete dead letters with their bytes; returns how many. May run twice: of each the parts go first."""
    deleted = 0
    for chunk in chunks(names, _AT_ONCE):
        with translated():
            found = await database.dead_letters.find({"_id": {"$in": chunk}}, _PARTS).to_list(None)
            for dead_letter in found:
                if any(dead_letter.get(count) for count in _PARTS):
                    await database.dead_letters.delete_many(_parts(dead_letter["_id"]))
            result = await database.dead_letters.delete_many({"_id": {"$in": chunk}, "kind": {"$ne": "part"}})
        deleted += result.deleted_count
    return deleted


_PARTS = {"parts": 1, "key_parts": 1, "headers_parts": 1}


async def _one(database: Database, name: str, paths: Document | None = None) -> Document | None:
    """The dead letter of this id, never a part of one."""
    with translated():
        return await database.dead_letters.find_one({"_id": name, "kind": {"$ne": "part"}}, paths)


async def _joined(
    database: Database,
    name: str,
    of: Literal["value", "key", "headers"],
    count: int,
    expected: bytes | None,
    first_bytes: int | None = None,
) -> bytes | Damaged:
    """The parts of one thing in their order, one at a time, against their checksum where there is one."""
    digest, kept, size, numbers = hashlib.sha256(), [], 0, []
    query = _parts(name) | {"of": None if of == "value" else of}
    with translated():
        # A part has up to 8 MB: more than one in an answer would be twice the memory.
        async for part in database.dead_letters.find(query).sort("part", 1).batch_size(1):
            numbers.append(part["part"])
            digest.update(part["value"])
            if first_bytes is None or size < first_bytes:
                kept.append(part["value"])
                size += len(part["value"])
    if numbers != list(range(1, count + 1)):
        return Damaged(f"{len(numbers)} of {count} parts are there")
    if expected is not None and digest.digest() != expected:
        return _CHANGED
    return b"".join(kept)[:first_bytes]


def _decoded(encoded: bytes) -> list[Header] | Damaged:
    try:
        return [(_text(name), value) for name, value in decode_headers(encoded)]
    except HeadersBroken as error:
        return Damaged(str(error))


def _text(name: bytes) -> str | bytes:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def _parts(name: str) -> Document:
    """The parts of a dead letter by the range of their ids: `<id>#<number>`, `<id>#key<number>` ..."""
    return {"_id": {"$gte": f"{name}#", "$lt": f"{name}$"}, "kind": "part", "part_of": name}


async def _is_of(database: Database, name: str, stream: str) -> bool:
    row = await _one(database, name, _WITHOUT_VALUE)
    if row is None:
        return False
    named = _stream(row["key"]) if row["key"] is not None else None
    if named is None and row["size_bytes"] <= _LONGEST_EVENT:
        value = await read_value(database, row)
        named = stream_of(value) if isinstance(value, bytes) else None
    return named == stream


def _stream(key: bytes) -> str | None:
    """The stream a recommended key `<course>:<user>` names; None for any other key, which names no kind of stream."""
    course, separator, user = key.decode("ascii", "replace").partition(":")
    named = bool(separator) and len(course) == len(user) == 24
    return stream_id(course.lower(), user.lower()) if named else None


def _entry(row: Document) -> Entry:
    return Entry(row["_id"], row["fingerprint"], row["reason"], row["message"], row["created_at"], row)
