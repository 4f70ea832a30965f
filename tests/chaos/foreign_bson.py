"""What a stranger may write into the collections a worker shares: random legal BSON, and real documents made odd."""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.odd_bson import documents, raw_document, raw_text, values
from worker.storage.database import CODEC_OPTIONS, Database
from worker.storage.elements import Element, elements, joined

SHARED = (
    "courses",
    "users",
    "user_progress",
    "user_progress_projections",
    "notifications",
    "billing_transactions",
    "analytics_queue",
    "user_interactions",
    "promotions",
    "cache",
    "system_settings",
    "tombstones",
)
_KINDS = ("welcome", "completion")
_TYPES = ("progress_fold", "progress_updated", "counts_fold", "counts_row", "notification_send")
# An answer, an update or a change event of it is larger than a document may be.
LARGE_BYTES = 16 * 1024 * 1024 - 4_096

RAW = CODEC_OPTIONS.with_options(document_class=RawBSONDocument)
Part = tuple[int, bytes, bytes]


def drawn(strategy: st.SearchStrategy[bytes], count: int, number: int) -> list[bytes]:
    """Up to `count` examples, the same for the same number."""
    found: list[bytes] = []

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], database=None, deadline=None)
    @given(strategy)
    def collect(example: bytes) -> None:
        found.append(example)

    collect()
    return found


def foreign(collection: str) -> st.SearchStrategy[bytes]:
    """Documents of any shape, that look enough like the collection's own to be read by whoever reads those."""
    if collection == "user_interactions":
        now = bson.encode({"timestamp": datetime(2026, 3, 1, tzinfo=UTC)})
        (timestamp,) = ((each.kind, each.name, each.value) for each in elements(now))
        return st.tuples(values(), values()).flatmap(
            lambda it: documents(timestamp, (it[0][0], b"metadata", it[0][1]), (it[1][0], b"x", it[1][1]))
        )
    identity = st.one_of(
        st.binary(min_size=12, max_size=12).map(lambda raw: (0x07, raw)),
        values().filter(lambda value: value[0] not in (0x04, 0x06, 0x0B)),
    )
    return st.tuples(identity, st.lists(values(), min_size=4, max_size=4), st.integers(0, 3)).flatmap(
        lambda it: documents((it[0][0], b"_id", it[0][1]), *_likely(collection, it[1], it[2]))
    )


def _likely(collection: str, odd: Sequence[tuple[int, bytes]], number: int) -> Iterator[Part]:
    """Fields by which the worker finds documents of the collection, and odd ones it then reads."""
    match collection:
        case "notifications":
            yield 0x02, b"status", raw_text((b"pending", b"taken", b"pending", b"sent")[number])
            yield 0x02, b"kind", raw_text(_KINDS[number % 2].encode())
            yield odd[0][0], b"due_at", odd[0][1]
            yield odd[1][0], b"user_id", odd[1][1]
        case "analytics_queue":
            yield 0x02, b"status", raw_text((b"pending", b"processing", b"failed", b"completed")[number])
            yield 0x02, b"event_type", raw_text(_TYPES[number].encode())
            yield odd[0][0], b"data", odd[0][1]
            yield odd[1][0], b"stream_id", odd[1][1]
            yield odd[2][0], b"due_at", odd[2][1]
        case "users":
            yield odd[0][0], b"activity_log", odd[0][1]
            yield odd[1][0], b"stats", odd[1][1]
        case "courses":
            yield odd[0][0], b"instructor_id", odd[0][1]
            yield odd[1][0], b"stats", odd[1][1]
        case _:
            yield odd[0][0], b"user_id", odd[0][1]
            yield odd[1][0], b"course_id", odd[1][1]
            yield odd[2][0], b"counted", odd[2][1]
            yield odd[3][0], b"stream_id", odd[3][1]


def spoilt(raw: bytes, odd: Sequence[tuple[int, bytes]], source: random.Random) -> bytes:
    """The document with one of its values, at any depth, replaced; its `_id` stays."""
    parts = list(elements(raw))
    places = [place for place, part in enumerate(parts) if part.name != b"_id"]
    if not places:
        return raw
    place = source.choice(places)
    chosen = parts[place]
    if chosen.kind in (0x03, 0x04) and len(chosen.value) > 5 and source.random() < 0.7:
        value = spoilt(chosen.value, odd, source)
        parts[place] = Element(chosen.kind, chosen.name, value)
    else:
        kind, value = source.choice(odd)
        parts[place] = Element(kind, chosen.name, value)
    return joined(parts)


def large(identity: ObjectId, field: str) -> bytes:
    """As large as a document may be, nearly."""
    return raw_document((0x07, b"_id", identity.binary), (0x02, field.encode(), raw_text(b"x" * LARGE_BYTES)))


async def insert(database: Database, collection: str, raw: Iterable[bytes]) -> int:
    """Past validators; what an index or the server refuses is left out. Returns how many are stored."""
    stored = 0
    for one in raw:
        command: dict[str, Any] = {"insert": collection, "documents": [RawBSONDocument(one)]}
        stored += int((await _send(database, collection, command))["n"])
    return stored


async def replace(database: Database, collection: str, identity: Any, raw: bytes) -> None:
    """Put these bytes in the place of a document, past validators."""
    update = {"q": {"_id": identity}, "u": RawBSONDocument(raw)}
    command: dict[str, Any] = {"update": collection, "updates": [update]}
    await _send(database, collection, command)


async def grow(database: Database, collection: str, identity: Any, size_bytes: int) -> None:
    """Give a document a field that leaves hardly any room for others."""
    update = {"q": {"_id": identity}, "u": {"$set": {"bio": "x" * size_bytes}}}
    await _send(database, collection, {"update": collection, "updates": [update]})


async def _send(database: Database, collection: str, command: dict[str, Any]) -> RawBSONDocument:
    """The server quotes what it refuses: its answer stays bytes."""
    past: dict[str, Any] = {**command, "bypassDocumentValidation": True}
    return await database.home(collection).command(past, codec_options=RAW)
