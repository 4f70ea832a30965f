"""Documents to BSON, one by one: what BSON cannot hold is found before anything is sent."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

import bson
from bson import Int64
from bson.binary import UUID_SUBTYPE, Binary
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from worker.storage.database import CODEC_OPTIONS, Document
from worker.storage.elements import Element, elements, joined

_ARRAY = 0x04
# Of these equal values of one type are equal as BSON.
_PLAIN = frozenset({int, float, str, bool, type(None)})
_UNENCODABLE = (BSONError, OverflowError, UnicodeEncodeError, RecursionError)
_RAW_OPTIONS = CODEC_OPTIONS.with_options(document_class=RawBSONDocument)


def encoded(document: Document) -> RawBSONDocument | None:
    """The document as BSON (`.raw` are its bytes), or None where BSON cannot hold one of its values.

    The driver sends these bytes as they are, so encoding here costs nothing twice.
    """
    identity = document.get("_id")
    # What the driver would make of it, without its many questions first: 5 µs a document.
    if type(identity) is UUID:
        document = {**document, "_id": Binary(identity.bytes, UUID_SUBTYPE)}
    try:
        return RawBSONDocument(bson.encode(document, codec_options=CODEC_OPTIONS), _RAW_OPTIONS)
    except _UNENCODABLE:
        return None


def with_array(document: Document, name: str, array: bytes) -> Document:
    """The document with an array of these bytes behind its own fields; for the driver it is a document."""
    own = elements(bson.encode(document, codec_options=CODEC_OPTIONS))
    whole: Any = RawBSONDocument(joined([*own, Element(_ARRAY, name.encode(), array)]), _RAW_OPTIONS)
    return cast(Document, whole)


def encoded_around(front: bytes, name: str, array: bytes, rest: Document) -> RawBSONDocument | None:
    """The document of `front`, which are encoded fields, an array of these bytes, and `rest`.

    None where BSON cannot hold it.
    """
    try:
        after = bson.encode(rest, codec_options=CODEC_OPTIONS)
    except _UNENCODABLE:
        return None
    before = b"%b%c%b\0" % (front, _ARRAY, name.encode())
    length = len(before) + len(array) + len(after)
    # Each byte is copied once: there are thousands of them.
    whole = b"".join((length.to_bytes(4, "little"), before, array, memoryview(after)[4:]))
    return RawBSONDocument(whole, _RAW_OPTIONS)


def same(stored: object, wanted: object) -> bool:
    """Whether two values are equal as BSON: Python has 3.0 and true equal to 3 and 1. The order of fields is none."""
    if type(stored) is type(wanted) and type(wanted) in _PLAIN:
        return stored == wanted
    if isinstance(wanted, Mapping):
        if not isinstance(stored, Mapping) or stored.keys() != wanted.keys():
            return False
        return all(same(stored[name], value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(stored, list | tuple) and len(stored) == len(wanted) and all(map(same, stored, wanted))
        )
    if isinstance(wanted, int):
        return _integer(stored) == _integer(wanted) and stored == wanted
    return isinstance(stored, type(wanted)) and stored == wanted


def _integer(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return type(value).__name__
    return "long" if isinstance(value, Int64) or not -(2**31) <= value < 2**31 else "int"
