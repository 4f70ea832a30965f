"""Which streams a job is about: each condition, the walk in pages, and what it says of a selection that is none."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.integration.verify.history import COURSE
from tests.support.progress import histories, store
from worker.contract.identity import parse_stream_id, stream_id
from worker.storage import stream_selection
from worker.storage.database import Database
from worker.storage.stream_selection import StreamSelection, count_streams, selected_pages

OTHER_COURSE = "0" * 24


async def selected(database: Database, most: int = 3, **conditions: Any) -> list[str]:
    """The streams of all pages; each page goes on below the one before."""
    pages = selected_pages(database, StreamSelection(**conditions), most=most)
    return [stream async for page in pages for stream in page.streams]


async def test_every_condition_leaves_out_the_others_and_pages_go_on_where_they_ended(
    database: Database,
) -> None:
    streams = histories(7, 8)
    names = sorted(streams, reverse=True)
    first, second, third = names[:3]
    # One learner also in another course, one stream that was recorded an hour later.
    learner = (parse_stream_id(first) or {})["user_id"]
    abroad = stream_id(OTHER_COURSE, learner)
    moved = {**streams[second][0], "stream_id": abroad}
    later = streams[third][-1]["recorded_at"] + timedelta(hours=1)
    streams[third][-1] = {**streams[third][-1], "recorded_at": later}
    streams[second] = [each for each in streams[second][1:] if each["event_type"] != "view"]
    await store(database, [moved, *(event for each in streams.values() for event in each)])

    assert await selected(database) == [*names, abroad]
    assert await selected(database, streams=[second, abroad]) == [second, abroad]
    assert await selected(database, learner=str(learner).upper()) == [first, abroad]
    assert await selected(database, course=str(COURSE)) == names
    assert await selected(database, course=OTHER_COURSE, learner=str(learner)) == [abroad]
    assert await selected(database, event_types=["view"]) == [each for each in names if each != second]
    assert await selected(database, since=later) == [third]
    assert await selected(database, until=later, streams=[third]) == [third]
    assert await selected(database, until=datetime.fromisoformat("2001-01-01T00:00:00Z")) == []
    assert await count_streams(database, StreamSelection()) == len(names) + 1
    assert await count_streams(database, StreamSelection(course=OTHER_COURSE)) == 1
    assert await count_streams(database, StreamSelection(event_types=("view",))) is None


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 5, 6])
async def test_pages_are_cut_from_as_many_names_as_are_read_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(stream_selection, "_NAMES_AT_ONCE", at_once)
    streams = histories(5, 1)
    await store(database, [event for each in streams.values() for event in each])
    names = sorted(streams, reverse=True)
    assert await selected(database, most=2) == names
    pages = [page async for page in selected_pages(database, StreamSelection(), most=2)]
    assert all(0 < len(page.streams) <= 2 and page.below == page.streams[-1] for page in pages)
    assert [*pages[0].streams, *await _below(database, pages[0].below)] == names


async def _below(database: Database, name: str) -> list[str]:
    rest = selected_pages(database, StreamSelection(), below=name, most=2)
    return [stream async for page in rest for stream in page.streams]


async def test_a_walk_that_stopped_goes_on_below_its_last_page(database: Database) -> None:
    streams = histories(5, 1)
    await store(database, [event for each in streams.values() for event in each])
    page = await anext(selected_pages(database, StreamSelection(), most=2))
    assert [*page.streams, *await _below(database, page.below)] == sorted(streams)[::-1]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"streams": ["course_1"]}, "no stream has the name 'course_1'"),
        ({"learner": "anna"}, "'anna' is no id: it has 24 hexadecimal digits"),
        ({"event_types": ["lesson_complete"]}, "no event has the type 'lesson_complete'; known are "),
        ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "ends before it begins"),
        ({"since": "2026-02-01T00:00:00"}, "timezone"),
    ],
)
def test_a_selection_that_is_none_says_what_is_wrong(conditions: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StreamSelection(**conditions)
