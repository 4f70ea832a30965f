"""Large arrays of documents of which little changes at a time: read as bytes, written entry by entry."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import bson
from bson.errors import BSONError

from projections.shared import Shared
from worker.storage.database import CODEC_OPTIONS, Document

_LENGTH = struct.Struct("<i")
_FIRST = 4
# Of more entries than these the array is written as a whole: each is a path of its own, which the server looks up.
_MOST_ENTRIES = 8


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
        except (BSONError, OverflowError, UnicodeEncodeError, RecursionError):
            return {name: entries}

    def _changes(self, name: str, entries: Sequence[Mapping[str, Any]]) -> Document:
        stored, at = self.raw, _FIRST
        changed: Document = {}
        for place, entry in enumerate(entries):
            head, wanted = _head(place), _bytes_of(entry)
            if stored.startswith(wanted, at + len(head)) and stored.startswith(head, at):
                at += len(head) + len(wanted)
                continue
            if not stored.startswith(head, at) or len(changed) == _MOST_ENTRIES:
                return {name: entries}
            at += len(head)
            at += _LENGTH.unpack_from(stored, at)[0]
            changed[f"{name}.{place}"] = entry
        return changed if at == len(stored) - 1 else {name: entries}


def array_of(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of an array of these entries."""
    parts = [part for place, entry in enumerate(entries) for part in (_head(place), _bytes_of(entry))]
    body = b"".join(parts)
    return _LENGTH.pack(len(body) + _FIRST + 1) + body + b"\0"


@lru_cache(maxsize=2_000)
def _head(place: int) -> bytes:
    """What stands in front of a document at this place of an array."""
    return b"\x03%d\0" % place


def _bytes_of(entry: Mapping[str, Any]) -> bytes:
    return entry.raw if type(entry) is Shared else bson.encode(entry, codec_options=CODEC_OPTIONS)
