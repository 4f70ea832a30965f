"""BSON taken apart without decoding its values: what Python cannot hold can still be kept as it is, as bytes."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bson.errors import InvalidBSON

_LENGTH = struct.Struct("<i")
# How many bytes a value of each type has, as far as the type alone says so.
_FIXED = {
    0x01: 8,  # double
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    0x08: 1,  # boolean
    0x09: 8,  # date
    0x0A: 0,  # null
    0x10: 4,  # 32-bit integer
    0x11: 8,  # timestamp
    0x12: 8,  # 64-bit integer
    0x13: 16,  # decimal
    0x7F: 0,  # MaxKey
    0xFF: 0,  # MinKey
}
# How many bytes follow beside those that the length in front of the value counts.
_COUNTED = {
    0x02: 4,  # string
    0x03: 0,  # document
    0x04: 0,  # array
    0x05: 5,  # binary: its subtype
    0x0C: 16,  # pointer: an ObjectId
    0x0D: 4,  # code
    0x0E: 4,  # symbol
    0x0F: 0,  # code with scope
}
_REGEX = 0x0B
_ARRAY = 0x04
# An empty document: its length and its end.
_SHORTEST = 5


class Element(NamedTuple):
    """One field of a document, or one place of an array: the bytes of its name and of its value."""

    kind: int
    name: bytes
    value: bytes

    @property
    def document(self) -> bytes:
        """A document of this element alone, for whoever wants to decode it."""
        return joined([self])


def elements(document: bytes) -> Iterator[Element]:
    """The fields of a document, or the places of an array. Raises InvalidBSON where the lengths do not fit."""
    at, end = 4, len(document) - 1
    if end + 1 < _SHORTEST or _LENGTH.unpack_from(document)[0] != end + 1:
        raise InvalidBSON("the document's length is not that of its bytes")
    while at < end:
        kind = document[at]
        name_end = _end_of_text(document, at + 1)
        value_end = _end_of_value(document, kind, name_end + 1)
        if value_end > end:
            raise InvalidBSON("a value ends beyond its document")
        yield Element(kind, document[at + 1 : name_end], document[name_end + 1 : value_end])
        at = value_end


def cut_out(document: bytes, name: bytes) -> tuple[bytes, bytes | None]:
    """The document without the array of this name, and the bytes of that array; None where there is none.

    Raises InvalidBSON as `elements` does.
    """
    at, end = 4, len(document) - 1
    while at < end:
        kind, name_end = document[at], document.find(b"\0", at + 1)
        fixed = _FIXED.get(kind)
        value_end = _end_of_value(document, kind, name_end + 1) if fixed is None else name_end + 1 + fixed
        if kind == _ARRAY and document[at + 1 : name_end] == name:
            rest = document[4:at] + document[value_end:]
            return _LENGTH.pack(len(rest) + 4) + rest, document[name_end + 1 : value_end]
        if value_end <= at:
            raise InvalidBSON("a name does not end")
        at = value_end
    return document, None


def joined(parts: Iterable[Element]) -> bytes:
    """The document, or array, that has these elements."""
    body = b"".join(b"%c%b\0%b" % part for part in parts)
    return _LENGTH.pack(len(body) + _SHORTEST) + body + b"\0"


def _end_of_text(document: bytes, start: int) -> int:
    end = document.find(b"\0", start)
    if end < 0:
        raise InvalidBSON("a name does not end")
    return end


def _end_of_value(document: bytes, kind: int, start: int) -> int:
    if (fixed := _FIXED.get(kind)) is not None:
        return start + fixed
    if kind == _REGEX:
        return _end_of_text(document, _end_of_text(document, start) + 1) + 1
    beside = _COUNTED.get(kind)
    if beside is None or start + 4 > len(document):
        raise InvalidBSON("an element of a type that BSON does not have")
    length = int(_LENGTH.unpack_from(document, start)[0])
    if length < 0:
        raise InvalidBSON("a length below zero")
    return start + length + beside
