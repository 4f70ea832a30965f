"""Large arrays of documents of which little changes at a time: read as bytes, written entry by entry."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError

from projections.shared import Shared, SharingArray, head
from worker.storage.database import CODEC_OPTIONS, Document

_LENGTH = struct.Struct("<i")
_FIRST = 4
# Of more entries than these the array is written as a whole: each is a path of its own, which the server looks up.
_MOST_ENTRIES = 8
_UNENCODABLE = (BSONError, OverflowError, UnicodeEncodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array as the bytes that it is stored as."""

    raw: bytes

    def changes(self, name: str, entries: Sequence[Mapping[str, Any]]) -> Document:
        """What is to be set so that the array `name` holds these entries: nothing, some of them, or the whole.

        The whole as well where BSON cannot hold an entry: whoever encodes it finds out.
        """
        try:
            return self._changes(name, entries)
        except _UNENCODABLE:
            return {name: entries}

    def _changes(self, name: str, entries: Sequence[Mapping[str, Any]]) -> Document:
        stored, at = self.raw, _FIRST
        changed: Document = {}
        for place, wanted in _parts(entries):
            if stored.startswith(wanted, at):
                at += len(wanted)
                continue
            begins = None if place is None else head(place)
            if begins is None or not stored.startswith(begins, at) or len(changed) == _MOST_ENTRIES:
                return {name: entries}
            at += len(begins)
            at += _LENGTH.unpack_from(stored, at)[0]
            changed[f"{name}.{place}"] = entries[place]  # type: ignore[index]  # it has a head
        return changed if at == len(stored) - 1 else {name: entries}


def encoded_array(entries: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The bytes of an array of these entries, or None where BSON cannot hold one."""
    try:
        parts = [part for _, part in _parts(entries)]
    except _UNENCODABLE:
        return None
    length = sum(map(len, parts)) + _FIRST + 1
    return b"".join((_LENGTH.pack(length), *parts, b"\0"))


def _parts(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int | None, bytes]]:
    """The array's bytes part by part: an entry with its place, or several that others have as well."""
    behind = 0
    if type(entries) is SharingArray:
        shared = entries.shared
        for place in entries.own:
            if place > behind:
                yield None, shared.raw[shared.starts[behind] : shared.starts[place]]
            yield place, head(place) + _bytes_of(entries[place])
            behind = place + 1
        if behind < len(shared.entries):
            yield None, shared.raw[shared.starts[behind] :]
        behind = len(shared.entries)
    for place in range(behind, len(entries)):
        yield place, head(place) + _bytes_of(entries[place])


def _bytes_of(entry: Mapping[str, Any]) -> bytes:
    return entry.raw if type(entry) is Shared else bson.encode(entry, codec_options=CODEC_OPTIONS)
