"""The events of one stream in version order, up to where the folds cannot go on either."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from projections.event import StoredEvent
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.lesson_lists import with_lists
from worker.storage.reading import Unreadable
from worker.storage.skipped_versions import Skips

# About 1 MB of usual events.
_PAGE_EVENTS = 1_000
_PAGE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Broken:
    """The version at which the stream cannot be read on, and why."""

    version: int
    kind: str
    detail: str


async def events_in_order(
    database: Database, stream: str, paths: Iterable[str], skips: Skips
) -> AsyncGenerator[StoredEvent | Broken]:
    """The stream's events from version 1 on; the last one is `Broken` where more may follow that cannot be folded.

    Of an event that cannot be read, and behind a hole, nothing can be folded, here as in the worker. One that is
    skipped comes as the void that folds take in its place.
    """
    expected = 1
    async with aclosing(_events(database, stream, paths, skips)) as events:
        async for version, event in events:
            if version > expected:
                yield Broken(expected, "hole", _hole(expected, version - 1))
                return
            expected += 1
            if isinstance(event, Unreadable):
                yield Broken(version, "unreadable", f"event {event.name}: {event.reason}")
                return
            yield event


async def _events(
    database: Database, stream: str, paths: Iterable[str], skips: Skips
) -> AsyncGenerator[tuple[int, StoredEvent | Unreadable]]:
    pages = reading.pages(
        database.course_events,
        {"stream_id": stream},
        dict.fromkeys(("_id", *paths), 1),
        sort=[("stream_id", 1), ("version", 1)],
        most=_PAGE_EVENTS,
        max_bytes=_PAGE_BYTES,
    )
    async with aclosing(pages):
        async for page in pages:
            unread = [await _place(database, each) for each in page.unreadable if each.id in skips.events]
            folded = await with_lists(database, skips.applied([*page.documents, *unread]))
            taken = replace(page, documents=folded).through(_event)
            found: list[tuple[int, StoredEvent | Unreadable]] = [
                (event.version, event) for event in taken.values
            ]
            found += [
                (await _version(database, each), each)
                for each in taken.unreadable
                if each.id not in skips.events
            ]
            for each in sorted(found, key=lambda one: one[0]):
                yield each


def _event(document: Document) -> StoredEvent:
    event = StoredEvent.from_document(document)
    if type(event.version) is not int or not isinstance(event.details, Mapping):
        raise TypeError("a field of another type")
    return event


async def _version(database: Database, event: Unreadable) -> int:
    version = (await _place(database, event)).get("version")
    return version if isinstance(version, int) else 0


async def _place(database: Database, event: Unreadable) -> Document:
    """Where an event stands of which something else cannot be read."""
    found = await reading.find_one(database.course_events, {"_id": event.id}, {"stream_id": 1, "version": 1})
    return found if isinstance(found, dict) else {}


def _hole(first: int, last: int) -> str:
    versions = f"version {first} is" if first == last else f"versions {first} to {last} are"
    return f"{versions} missing: a running worker fills them with voids"
