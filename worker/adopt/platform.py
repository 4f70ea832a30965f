"""Documents of `user_progress` that are the platform's own: found, and taken apart without losing a byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.errors import InvalidBSON

from projections.progress.document import FOLDED_PATHS
from worker.adopt.outcome import Document, Reason, SetAside
from worker.storage.elements import Element, elements
from worker.storage.reading import Unreadable, decoded_one, name_of

OWNED: frozenset[str] = frozenset({"_id", "rev", *FOLDED_PATHS})
"""Top-level fields of the worker's document; all others stay the platform's."""

FOREIGN: Mapping[str, Any] = {
    "$nor": [
        {
            "stream_id": {"$type": "string"},
            "projection_version": {"$type": ["int", "long"]},
            "rev": {"$exists": True},
            "state": {"$type": "object"},
        }
    ]
}
"""Documents that no fold made."""

LONGEST_BYTES = 2 * 1024 * 1024
"""A record stands in the worker's document twice and in its event twice, and a change event carries both."""

_COLLECTION = "user_progress"
# Types of `_id` that mean themselves in a query.
_PLAIN = (ObjectId, str, int, UUID, bytes)


@dataclass(frozen=True, slots=True)
class PlatformDocument:
    """One document: `fields` are those that the worker's document has, too, `others` stay as the bytes they are."""

    identity: Any
    raw: bytes
    fields: Document
    others: Sequence[Element]

    @property
    def name(self) -> str:
        return name_of(self.identity)


def can_be_asked_for(identity: object) -> bool:
    """Whether an `_id` stands for itself in a query; another one may mean something there."""
    return isinstance(identity, _PLAIN) and not isinstance(identity, bool)


def take_apart(raw: bytes, identity: Any) -> PlatformDocument | SetAside:
    """The document of this `_id`; what the worker has no use for is not decoded, whatever it is."""
    name = name_of(identity)
    try:
        parts = list(elements(raw))
    except InvalidBSON:
        return SetAside(name, Reason.UNREADABLE, "the document's lengths do not fit", identity)
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        return SetAside(name, Reason.UNFIT, "a field stands in it twice", identity)
    fields: Document = {}
    for part in parts:
        if part.name.decode(errors="replace") not in OWNED:
            continue
        found = decoded_one(_COLLECTION, part.document)
        if isinstance(found, Unreadable):
            detail = f"{part.name.decode()}: {found.reason}"
            return SetAside(name, Reason.UNREADABLE, detail, identity)
        fields |= found
    del fields["_id"]
    others = [part for part in parts if part.name.decode(errors="replace") not in OWNED]
    return PlatformDocument(identity, raw, fields, others)
