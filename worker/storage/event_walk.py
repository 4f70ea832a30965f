"""Stored events of selected streams, some at a time, so that a walk may stop anywhere and go on where it stopped."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.reading import Unreadable
from worker.storage.stream_selection import STREAMS_PER_PAGE, StreamSelection, selected_pages

_IN_ORDER = [("stream_id", 1), ("version", 1)]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk has come: behind version `version` of `stream`, in the page of streams that begins `below`."""

    below: str | None = None
    stream: str = ""
    version: int = 0

    def document(self) -> Document:
        """As a checkpoint keeps it."""
        return {"below": self.below, "stream": self.stream, "version": self.version}

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> "Place":
        """What `document` made a document of; the beginning for none."""
        known = document or {}
        return cls(known.get("below"), known.get("stream", ""), known.get("version", 0))


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, each stream's in the order of its versions, those nobody can read, and the place behind them."""

    events: Sequence[Document]
    unreadable: Sequence[Unreadable]
    place: Place


async def walk_events(
    database: Database,
    selection: StreamSelection,
    begin: Place,
    *,
    most: int,
    max_bytes: int,
    streams_per_page: int = STREAMS_PER_PAGE,
) -> AsyncGenerator[EventPage]:
    """Every event that is selected: of the selected streams those of its types and times, `most` at a time.

    Each page is a query of its own: the walk may rest for hours between two. A stream's events come in order;
    streams come in pages. Streams and events that are stored meanwhile may be missed.
    """
    place = begin
    async for page in selected_pages(database, selection, below=begin.below, most=streams_per_page):
        streams = sorted(page.streams)
        while True:
            streams = [stream for stream in streams if stream >= place.stream]
            found = await _next(database, streams, selection, place, most, max_bytes)
            if not (found.documents or found.unreadable):
                break
            place = await _behind(database, found, place)
            yield EventPage(found.documents, found.unreadable, place)
        place = Place(page.below)


async def count_events(database: Database, selection: StreamSelection) -> int | None:
    """How many events there are to walk, for a bar; None where counting would be a walk of its own."""
    if selection.everything:
        return await database.course_events.estimated_document_count()
    return None


async def _next(
    database: Database,
    streams: Sequence[str],
    selection: StreamSelection,
    place: Place,
    most: int,
    max_bytes: int,
) -> reading.Reading:
    begun = {"stream_id": place.stream, "version": {"$gt": place.version}}
    others = [stream for stream in streams if stream != place.stream]
    ranges: list[Document] = [begun] if place.stream in streams else []
    ranges += [{"stream_id": {"$in": others}}] if others else []
    if not ranges:
        return reading.Reading(database.course_events.name)
    query = {"$or": [{**each, **selection.events()} for each in ranges]}
    return await reading.find(
        database.course_events, query, sort=_IN_ORDER, hint=_IN_ORDER, limit=most, max_bytes=max_bytes
    )


async def _behind(database: Database, found: reading.Reading, before: Place) -> Place:
    """The place of the last event that was read, of one that nobody can read, too."""
    places = [_place_of(event) for event in found.documents]
    for each in found.unreadable:
        paths = {"stream_id": 1, "version": 1}
        known: Any = await reading.find_one(database.course_events, {"_id": each.id}, paths)
        if isinstance(known, dict):
            places.append(_place_of(known))
    stream, version = max(places, default=(before.stream, before.version + len(found.unreadable)))
    return Place(before.below, stream, version)


def _place_of(event: Mapping[str, Any]) -> tuple[str, int]:
    version = event.get("version")
    return str(event["stream_id"]), version if isinstance(version, int) else 0
