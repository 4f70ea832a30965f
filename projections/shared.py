"""What many documents hold alike: documents, and arrays that are nearly all of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import bson


class Shared(dict[str, Any]):
    """A document that many others hold, and nobody changes: `raw` are its bytes, made once for all of them."""

    __slots__ = ("raw",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.raw: bytes = bson.encode(self)


class SharedArray:
    """An array of such documents: `raw` are the bytes of its entries, which begin at `starts`, the end included."""

    __slots__ = ("entries", "raw", "starts")

    def __init__(self, entries: Iterable[Shared]) -> None:
        self.entries = tuple(entries)
        parts = [head(place) + entry.raw for place, entry in enumerate(self.entries)]
        self.raw = b"".join(parts)
        starts = [0]
        for part in parts:
            starts.append(starts[-1] + len(part))
        self.starts = tuple(starts)


class SharingArray(list[Any]):
    """A list that holds what a shared array holds, but for the entries at the places `own`, and those behind it."""

    __slots__ = ("own", "shared")

    def __init__(
        self, shared: SharedArray, own: Mapping[int, Mapping[str, Any]], more: Sequence[Any] = ()
    ) -> None:
        super().__init__(shared.entries)
        for place, entry in own.items():
            self[place] = entry
        if more:
            self.extend(more)
        self.shared = shared
        self.own = sorted(own)


def head(place: int) -> bytes:
    """What stands in front of a document at this place of an array in BSON."""
    return b"\x03%d\0" % place
