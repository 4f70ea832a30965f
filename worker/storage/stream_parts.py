"""The parts of a stream, made from all of its events in the order in which they happened, some at a time.

A stream's versions are the order of arrival; parts follow from (occurred_at, event_id). So the places of the events
are read first, which are small, and then the events in that order: each once, and never more than fit into memory.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.event import VOID, StoredEvent
from projections.kinds import Parts, StreamProjection
from worker.contract.identity import stream_slot
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.skipped_versions import NO_SKIPS, Skips

PLACED = ("stream_id", "event_version", "projection_version", "rev")
"""What a part says of itself beside `Parts.paths`; `rev` guards every write of it."""

# Decoded they take some ten times as much.
_EVENT_BYTES = 4_000_000
_EVENTS_AT_ONCE = 500
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]


class PartsFailed(Exception):
    """The parts of a stream cannot be made at one of its events; `error` is what was raised there."""

    def __init__(self, event: Mapping[str, Any], error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.event = event
        self.error = error


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an event stands, in the stream and among what happened."""

    occurred_at: datetime
    event_id: UUID
    version: int
    size_bytes: int

    @property
    def order(self) -> tuple[datetime, UUID]:
        return self.occurred_at, self.event_id


async def make_parts(
    database: Database,
    projection: StreamProjection,
    document: Mapping[str, Any],
    due: Set[ObjectId],
    skips: Skips = NO_SKIPS,
) -> AsyncGenerator[Document]:
    """The parts of a document that are due, as they are stored but for `rev`, in the order in which they came about.

    Raises PartsFailed where an event cannot be taken; Retryable while MongoDB is away.
    """
    parts, carry, left = projection.parts, None, set(due)
    if parts is None or not left:
        return
    named = parts.named(document)
    places = await _places(database, document, skips)
    for some in _in_bytes(sorted(places, key=lambda place: place.order)):
        for event in await _events(database, parts, document["stream_id"], some):
            try:
                carry, made = parts.make(document, due, carry, [StoredEvent.from_document(event)])
            except Exception as error:  # whatever it raises concerns this stream only
                raise PartsFailed(event, error) from error
            for part in made:
                left.discard(part["_id"])
                yield {**part, **_placed(projection, document, named[part["_id"]])}
            if not left:
                return


def _placed(projection: StreamProjection, document: Mapping[str, Any], version: int) -> Document:
    return {
        "stream_id": document["stream_id"],
        "slot": stream_slot(document["stream_id"]),
        "event_version": version,
        "projection_version": projection.version,
    }


async def _places(database: Database, document: Mapping[str, Any], skips: Skips) -> list[_Place]:
    """Of the stream's events up to the document's version, but for voids and those that are left out."""
    whole = {"stream_id": document["stream_id"], "version": {"$lte": document["version"]}}
    paths: Document = {**dict.fromkeys(("stream_id", "version", "event_type", "occurred_at"), 1)}
    found = await reading.aggregate(
        database.course_events,
        [{"$match": whole}, {"$project": {**paths, "size_bytes": {"$bsonSize": "$$ROOT"}}}],
    )
    return [
        _Place(event["occurred_at"], event["_id"], event["version"], event["size_bytes"])
        for event in found.documents
        if event["event_type"] != VOID and not skips.covers(event)
    ]


def _in_bytes(places: Sequence[_Place]) -> Iterable[list[_Place]]:
    """The places in groups whose events fit into memory, of one event at least."""
    group: list[_Place] = []
    size_bytes = 0
    for place in places:
        if group and (len(group) >= _EVENTS_AT_ONCE or size_bytes + place.size_bytes > _EVENT_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(place)
        size_bytes += place.size_bytes
    if group:
        yield group


async def _events(database: Database, parts: Parts, stream: str, places: Sequence[_Place]) -> list[Document]:
    """The events of these places, in this order; an event that nobody can read stands there without its fields."""
    query = {"stream_id": stream, "version": {"$in": [place.version for place in places]}}
    found = await reading.find(
        database.course_events, query, dict.fromkeys(parts.event_paths, 1), hint=_EVENT_INDEX
    )
    by_id: dict[Any, Document] = {event["_id"]: event for event in found.documents}
    unread = {one.id for one in found.unreadable}
    broken = {place.event_id: {"_id": place.event_id, "version": place.version} for place in places}
    return [
        by_id[place.event_id] if place.event_id in by_id else broken[place.event_id]
        for place in places
        if place.event_id in by_id or place.event_id in unread
    ]
