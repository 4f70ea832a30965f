"""Stored events some at a time: each once, each stream's in order, from any place on, past what nobody can read."""

from bson.datetime_ms import DatetimeMS

from tests.support.progress import histories, store
from worker.storage.database import Database
from worker.storage.event_walk import EventPage, Place, count_events, walk_events
from worker.storage.stream_selection import StreamSelection

ALL, BEGIN = StreamSelection(), Place()


async def walked(
    database: Database, begin: Place = BEGIN, of: StreamSelection = ALL, most: int = 5, streams: int = 3
) -> list[EventPage]:
    limits = {"most": most, "max_bytes": 1_000_000, "streams_per_page": streams}
    return [page async for page in walk_events(database, of, begin, **limits)]


def versions(pages: list[EventPage]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in (event for page in pages for event in page.events):
        found.setdefault(event["stream_id"], []).append(event["version"])
    return found


async def test_every_event_comes_once_and_each_streams_in_order(database: Database) -> None:
    streams = histories(4, 6)
    await store(database, [event for each in streams.values() for event in each])
    pages = await walked(database)
    assert versions(pages) == {stream: list(range(1, 7)) for stream in streams}
    assert max(len(page.events) for page in pages) == 5
    assert await count_events(database, ALL) == 24
    (whole,) = await walked(database, most=1_000, streams=10)
    assert versions([whole]) == versions(pages)


async def test_a_walk_goes_on_behind_any_page(database: Database) -> None:
    streams = histories(4, 6)
    await store(database, [event for each in streams.values() for event in each])
    pages = await walked(database)
    for number, page in enumerate(pages, start=1):
        saved = Place.of(page.place.document())
        rest = await walked(database, saved)
        assert [e["_id"] for p in rest for e in p.events] == [
            e["_id"] for p in pages[number:] for e in p.events
        ]


async def test_only_events_of_the_selected_types_come(database: Database) -> None:
    streams = histories(2, 8)
    await store(database, [event for each in streams.values() for event in each])
    of = StreamSelection(event_types=("view",))
    pages = await walked(database, of=of, most=1)
    assert {event["event_type"] for page in pages for event in page.events} == {"view"}
    assert sum(len(page.events) for page in pages) == sum(
        event["event_type"] == "view" for each in streams.values() for event in each
    )
    assert await count_events(database, of) is None


async def test_what_nobody_can_read_is_passed_and_told(database: Database) -> None:
    streams = histories(1, 4)
    ((stream, events),) = streams.items()
    await store(database, events)
    for version in (2, 3, 4):
        await database.course_events.update_one(
            {"stream_id": stream, "version": version}, {"$set": {"occurred_at": DatetimeMS(2**60)}}
        )
    pages = await walked(database, most=1)
    assert versions(pages) == {stream: [1]}
    assert len([each for page in pages for each in page.unreadable]) == 3
    assert pages[-1].place.version == 4
