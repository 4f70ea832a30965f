"""Stored events about content, made as the worker makes them: by the contract, in the store's shape."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from bson import ObjectId, encode

from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from tests.unit.projections.events import CODEC_OPTIONS, STORED_AT, arrive, moment, split, stored_document
from worker.contract import codec
from worker.contract.event import Event
from worker.contract.events.blocks import BLOCKS
from worker.contract.events.lessons import LESSONS
from worker.contract.events.relationships import RELATIONSHIPS
from worker.contract.events.workflows import WORKFLOWS
from worker.contract.family import EventTypes
from worker.contract.identity import stream_object_id
from worker.contract.rejection import Rejected
from worker.contract.source import Source
from worker.storage.documents import event_document

TYPES = EventTypes((LESSONS, BLOCKS, RELATIONSHIPS, WORKFLOWS))
ITEM = "5f0000000000000000000a01"
"""The content item, block, relationship or workflow of every event without another id."""
LESSON = "5f0000000000000000000a02"
USER = "5f0000000000000000000002"


def about_of(event_type: str) -> str:
    """What an event of the type is about."""
    return next(
        family.about[0]
        for family in (LESSONS, BLOCKS, RELATIONSHIPS, WORKFLOWS)
        if event_type in family.events
    )


def decoded(
    event_type: str,
    at: float = 0,
    *,
    number: int | None = None,
    item: str = ITEM,
    details: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Event | Rejected:
    """One event `at` seconds into the story, as the contract takes it, or does not."""
    if event_type == "lesson_content_created":
        fields.setdefault("lesson_id", LESSON)
    sent = {
        "event_type": event_type,
        "occurred_at": moment(at).isoformat(),
        f"{about_of(event_type)}_id": item,
        **({} if details is None else {"details": dict(details)}),
        **fields,
    }
    identity = uuid5(NAMESPACE_OID, repr(sent)) if number is None else UUID(int=number)
    written = codec.encode({"event_id": str(identity), **sent})
    return codec.decode_event(written, timestamp=STORED_AT, types=TYPES)


def content_document(event_type: str, at: float = 0, **fields: Any) -> Document:
    """The same as it lies in the store, without a version yet."""
    event = decoded(event_type, at, **fields)
    if not isinstance(event, Event):
        raise TypeError(f"{event_type} breaks the contract: {event}")
    return stored_document(event_document(event, 0, Source("content-events", 0, 0), STORED_AT, None))


def content_event(event_type: str, at: float = 0, **fields: Any) -> StoredEvent:
    """The same as a fold gets it. Versions: `arrive`."""
    return StoredEvent.from_document(content_document(event_type, at, **fields))


def folded(projection: StreamProjection, events: Iterable[StoredEvent], cuts: Iterable[int] = ()) -> Document:
    """The document after these events, which arrive in this order, in batches that go through the store."""
    current: Document | None = None
    document: Document = {}
    for batch in split(arrive(events), cuts):
        document = projection.fold(current, batch, "live")
        identity = stream_object_id(document["stream_id"])
        current = stored_document({"_id": identity, "rev": 1, **document})
    return document


def readable(document: Mapping[str, Any]) -> Document:
    """What readers see of a document: nothing of how it was made."""
    own = ("stream_id", "slot", "version", "projection_version", "recorded_at", "state")
    return {name: value for name, value in document.items() if name not in own}


def stored_bytes(document: Mapping[str, Any]) -> bytes:
    """All of it but for how events arrived."""
    kept = {name: value for name, value in document.items() if name not in ("version", "recorded_at")}
    return encode(kept, codec_options=CODEC_OPTIONS)


def oid(text: str) -> ObjectId:
    return ObjectId(text)
