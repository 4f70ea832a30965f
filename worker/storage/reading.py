"""Reading documents that somebody else may have written: whatever BSON allows costs only the document it is in.

Documents come from the server as bytes and are decoded here. One that Python cannot hold (a date after the year 9999,
text that is no UTF-8, a UUID of three bytes, ...) becomes an `Unreadable` beside the others, never an exception; so
does one that a pure step cannot make sense of (`Reading.through`). The server's own refusal to read is waited for
like its absence: what other people store must not end a role.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as Names
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import bson
from bson import ObjectId
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError, InvalidBSON
from pymongo.asynchronous.database import AsyncDatabase

from worker.chunks import chunks_within
from worker.errors import Refused, Retryable
from worker.storage import driver
from worker.storage.arrays import StoredArray
from worker.storage.database import CODEC_OPTIONS, Collection, Document
from worker.storage.elements import Element, cut_out, elements, joined
from worker.storage.errors import translated
from worker.storage.transactions import Session

T = TypeVar("T")

# For what is looked at and never written back: dates that Python cannot hold come as `DatetimeMS`, broken text is
# shown with its bytes, and a UUID is the binary it is stored as.
_LENIENT: CodecOptions[Document] = CODEC_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="backslashreplace",
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
# The types of `_id` that our own documents have: others are not asked for, they may mean something in a query.
IDENTITIES = (str, ObjectId, UUID)
TEXT_OR_OBJECT_ID: Document = {"$type": ["string", "objectId"]}
FIRST_DATE, LAST_DATE = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
# What decoding raises; OverflowError and ValueError are those of values that Python's own types refuse.
_UNDECODABLE = (BSONError, ValueError, OverflowError, RecursionError)
_DOCUMENT, _ARRAY = 0x03, 0x04
# Some milliseconds: the roles of a worker share a thread, and a fold that somebody waits for comes in between.
_DECODED_AT_ONCE = 128 * 1024
# Documents of one answer, if they are not too large. By itself the server sends 101 first, and waits to be asked on.
_MOST_AT_ONCE = 10_000
# Longer ids are named by a hash: they end up in ids of our own.
_LONGEST_NAME = 200
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document nobody here can make sense of: its `_id` as far as that can be read, and a reason without values."""

    collection: str
    id: object
    reason: str

    @property
    def name(self) -> str:
        """The `_id` as a short text, the same each time; two different ids have two names."""
        return name_of(self.id)


class KeptArray(list[Any]):
    """An array that others write to as well: what of it is written back goes back as the bytes it came as.

    Its entries are as decoded where they are documents, and opaque where they are anything else: no two are the same
    object, and `encoded` finds the bytes of each by that.
    """

    def __init__(self, array: bytes) -> None:
        stored = [(_view(element), element) for element in elements(array)]
        super().__init__(view for view, _ in stored)
        self._stored = {id(view): element for view, element in stored}

    def encoded(self, entries: Iterable[Any]) -> bytes:
        """An array of these entries as bytes: those of this array, and new ones, in the order given."""
        found = ((entry, self._stored.get(id(entry))) for entry in entries)
        parts = [_encoded(entry) if element is None else element for entry, element in found]
        return joined(part._replace(name=b"%d" % place) for place, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What a step made of the documents it could make sense of, and all the others."""

    values: list[T] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. `complete` is False where `max_bytes` ended it before the last document."""

    collection: str
    documents: list[Document] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    size_bytes: int = 0
    complete: bool = True

    def through(self, step: Callable[[Document], T]) -> Taken[T]:
        """Take each document through a pure step; one that the step cannot make sense of is unreadable, too.

        Whatever the step raises concerns the document it was given: it does nothing but look at it.
        """
        taken: Taken[T] = Taken(unreadable=list(self.unreadable))
        for document in self.documents:
            try:
                taken.values.append(step(document))
            except Exception as error:  # one document's content: the others must not wait for it
                taken.unreadable.append(senseless(self.collection, document.get("_id"), error))
        return taken


async def find(
    collection: Collection,
    query: Mapping[str, Any],
    paths: Mapping[str, Any] | None = None,
    *,
    max_bytes: int | None = None,
    kept: Names[str] = (),
    as_bytes: str | None = None,
    **options: Any,
) -> Reading:
    """The documents that match; `options` are those of the driver's `find` (`session`, `sort`, `limit`, `hint` ...).

    Arrays in the fields named by `kept` come as `KeptArray`: they can be written back without changing a byte. One in
    the field `as_bytes` comes as `StoredArray`: nobody decodes it.
    The document that reaches `max_bytes` is the last one; what is not decoded then are bytes of one answer, 16 MB at
    most. Raises Retryable while the server is away or refuses to read.
    """
    found = Reading(collection.name)
    async with aclosing(_raw_batches(collection, query, paths, **options)) as answers:
        async for batch in answers:
            if max_bytes is not None and found.size_bytes >= max_bytes:
                return replace(found, complete=False)  # reached with the last document of the answer before
            some = _up_to(batch, max_bytes, found.size_bytes)
            for piece in _pieces(some):
                more = decoded(collection.name, piece, kept, as_bytes)
                found.documents.extend(more.documents)
                found.unreadable.extend(more.unreadable)
                found = replace(found, size_bytes=found.size_bytes + more.size_bytes)
                if piece is not some:
                    await asyncio.sleep(0)
            found = replace(found, complete=some is batch)
            if not found.complete:
                break
    return found


async def batches(
    collection: Collection, query: Mapping[str, Any], paths: Mapping[str, Any] | None = None, **options: Any
) -> AsyncGenerator[Reading]:
    """As `find`, answer by answer, each of 16 MB at most: for what is larger than memory."""
    async with aclosing(_raw_batches(collection, query, paths, **options)) as answers:
        async for batch in answers:
            yield decoded(collection.name, batch)


async def pages(
    collection: Collection,
    query: Mapping[str, Any],
    paths: Mapping[str, Any] | None = None,
    *,
    most: int,
    max_bytes: int,
    **options: Any,
) -> AsyncGenerator[Reading]:
    """As `batches`, cut anew: at most `most` documents and `max_bytes`, but one document at least.

    No more is decoded at a time; what is not decoded yet is bytes, 16 MB at most.
    """
    page: list[bytes] = []
    size_bytes = 0
    async with aclosing(_raw_batches(collection, query, paths, **options)) as answers:
        async for batch in answers:
            for raw in _apart(batch):
                if page and (len(page) >= most or size_bytes + len(raw) > max_bytes):
                    yield decoded(collection.name, b"".join(page))
                    page, size_bytes = [], 0
                page.append(raw)
                size_bytes += len(raw)
    if page:
        yield decoded(collection.name, b"".join(page))


async def raw_batches(
    collection: Collection, query: Mapping[str, Any], paths: Mapping[str, Any] | None = None, **options: Any
) -> AsyncGenerator[list[bytes]]:
    """As `batches`, each document as its bytes: for whoever writes back what nobody has to decode."""
    async with aclosing(_raw_batches(collection, query, paths, **options)) as answers:
        async for batch in answers:
            yield list(_apart(batch))


async def find_raw(
    collection: Collection, query: Mapping[str, Any], paths: Mapping[str, Any] | None = None, **options: Any
) -> list[bytes]:
    """The bytes of the documents that match."""
    async with aclosing(raw_batches(collection, query, paths, **options)) as answers:
        return [raw async for batch in answers for raw in batch]


async def find_one(
    collection: Collection, query: Mapping[str, Any], paths: Mapping[str, Any] | None = None
) -> Document | Unreadable | None:
    """The first document that matches."""
    found = await find(collection, query, paths, limit=1)
    return found.documents[0] if found.documents else next(iter(found.unreadable), None)


async def aggregate(
    collection: Collection, pipeline: Sequence[Mapping[str, Any]], *, session: Session | None = None
) -> Reading:
    """What the pipeline gives, each document by itself."""
    with _reading():
        rows = await driver.aggregate_raw(collection, pipeline, session=session)
    return decoded(collection.name, b"".join(rows))


async def command(database: AsyncDatabase[Document], *arguments: Any, **options: Any) -> Document:
    """The answer to a command as far as it can be shown: it may quote what others store. Translates no errors.

    Not as raw BSON: the driver itself reads answers, and takes no notice of a failure it is told in bytes.
    """
    send: Any = database.command
    reply: Document = await send(*arguments, codec_options=_LENIENT, **options)
    return reply


def decoded(collection: str, batch: bytes, kept: Names[str] = (), as_bytes: str | None = None) -> Reading:
    """The documents that stand one behind another in `batch`."""
    if not kept and as_bytes is None:
        with suppress(*_UNDECODABLE):
            return Reading(collection, bson.decode_all(batch, CODEC_OPTIONS), size_bytes=len(batch))
    found = Reading(collection, size_bytes=len(batch))
    for whole in _apart(batch):
        raw, array = (whole, None) if as_bytes is None else cut_out(whole, as_bytes.encode())
        one = decoded_one(collection, raw)
        if isinstance(one, Unreadable):
            found.unreadable.append(one)
        else:
            _keep(one, raw, kept)
            if array is not None and as_bytes is not None:
                one[as_bytes] = StoredArray(array)
            found.documents.append(one)
    return found


def decoded_one(collection: str, raw: bytes) -> Document | Unreadable:
    """One document, if Python can hold it."""
    try:
        return bson.decode(raw, CODEC_OPTIONS)
    except _UNDECODABLE as error:
        return Unreadable(collection, _identity(raw), f"it cannot be decoded ({_why(error)})")


def shown(raw: bytes) -> Document | None:
    """One document as far as it can be shown to somebody, not to be written back; None where nothing can be."""
    try:
        return bson.decode(raw, _LENIENT)
    except _UNDECODABLE:
        return None


def senseless(collection: str, identity: object, error: Exception) -> Unreadable:
    """A document whose values are of other types than the reader expects."""
    return Unreadable(collection, identity, f"its values make no sense here ({type(error).__name__})")


def name_of(identity: object) -> str:
    """An `_id` as a short text, the same each time."""
    if isinstance(identity, ObjectId | UUID):
        return str(identity)
    if isinstance(identity, Binary) and identity.subtype == UUID_SUBTYPE and len(identity) == _UUID_BYTES:
        return str(identity.as_uuid())
    if isinstance(identity, str) and identity.isprintable() and len(identity) <= _LONGEST_NAME:
        return identity
    return hashlib.sha1(repr(identity).encode(errors="backslashreplace"), usedforsecurity=False).hexdigest()


async def _raw_batches(
    collection: Collection, query: Mapping[str, Any], paths: Mapping[str, Any] | None, **options: Any
) -> AsyncGenerator[bytes]:
    with _reading():
        cursor: Any = collection.find_raw_batches(query, paths, **{"batch_size": _MOST_AT_ONCE, **options})
    try:
        while True:
            with _reading():
                batch: bytes | None = await anext(cursor, None)
            if batch is None:
                return
            if batch:
                yield batch
    finally:
        with _reading():
            await cursor.close()


@contextmanager
def _reading() -> Iterator[None]:
    """Driver errors as the worker's own; a refusal to read passes, as far as anybody here can know."""
    try:
        with translated():
            yield
    except Refused as error:
        raise Retryable(f"the server refuses to read: {error}") from error


def _up_to(batch: bytes, max_bytes: int | None, taken: int) -> bytes:
    """The batch, or its first documents, the last of them the one with which `taken` bytes become `max_bytes`."""
    if max_bytes is None or taken + len(batch) < max_bytes:
        return batch
    end = 0
    for raw in _apart(batch):
        end += len(raw)
        if taken + end >= max_bytes:
            break
    return batch[:end]


def _keep(document: Document, raw: bytes, names: Names[str]) -> None:
    """Put a `KeptArray` in place of each array of these names."""
    if not any(isinstance(document.get(name), list) for name in names):
        return
    for element in elements(raw):
        name = element.name.decode(errors="replace")
        if name in names and element.kind == _ARRAY:
            document[name] = KeptArray(element.value)


def _view(element: Element) -> Any:
    """A document as decoded; an object that equals nothing for any other value."""
    if element.kind == _DOCUMENT:
        # Of an array the decoder skips the names, which may be anything; of a document it reads them.
        view = bson.decode(element._replace(name=b"0").document, CODEC_OPTIONS)["0"]
        if isinstance(view, dict):
            return view
    return object()


def _encoded(entry: Any) -> Element:
    return next(elements(bson.encode({"": entry}, codec_options=CODEC_OPTIONS)))


def _pieces(batch: bytes) -> Iterator[bytes]:
    """The batch, or if it is long its documents in pieces of some bytes: who decodes them lets others go on."""
    if len(batch) <= _DECODED_AT_ONCE:
        yield batch
        return
    yield from map(b"".join, chunks_within(_apart(batch), _DECODED_AT_ONCE, len))


def _apart(batch: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        yield batch[at:end]
        at = end


def _identity(raw: bytes) -> object:
    """The `_id` of a document of which something else cannot be read; its bytes where it cannot be read itself."""
    try:
        found = next((element for element in elements(raw) if element.name == b"_id"), None)
        if found is None:
            return None
        known = shown(found.document)
    except InvalidBSON:
        return None
    return found.value if known is None else known["_id"]


def _why(error: BaseException) -> str:
    """What kind of value it is, without the value."""
    text = str(error)
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return type(error).__name__


_REASONS = (
    ("is out of range", "a date outside the years 1 to 9999"),
    ("codec can't decode", "text that is no UTF-8"),
    ("uuid", "a UUID that is none"),
    ("recursion", "nested too deep"),
)
