"""`rebuild progress`: what was damaged is as its events say again, whoever looks on meanwhile or kills it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.jobs import runner
from tests.support.progress import documents, expected, histories, projector, store, variant
from worker.contract.identity import parse_stream_id, stream_object_id
from worker.errors import Misconfigured
from worker.jobs.context import Progress
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.storage.database import Database, Document
from worker.storage.outbox import notification_row
from worker.storage.projection_state import Positions
from worker.storage.shares import GROUPS
from worker.storage.stream_selection import StreamSelection
from worker.timing import SystemClock

PLATFORM = {"bookmarked": True, "notes_of_staff": [1, {"a": "b"}]}


async def stored(database: Database, learners: int = 12, events: int = 9) -> list[str]:
    """Histories, folded; each document holds something of the platform's. Returns the streams, downwards."""
    streams = histories(learners, events)
    await store(database, [event for each in streams.values() for event in each])
    await projector(database).project(dict.fromkeys(streams, events))
    await database.user_progress.update_many({}, {"$set": PLATFORM})
    return sorted(streams, reverse=True)


async def change(database: Database, stream: str, update: Mapping[str, Any]) -> None:
    await database.user_progress.update_one({"_id": stream_object_id(stream)}, update)


async def damage(database: Database, streams: list[str]) -> None:
    """One document altered, one deleted, one that claims too much, one put back to the half of its events."""
    await change(database, streams[0], {"$set": {"progress.percentage": 99.0}})
    await database.user_progress.delete_one({"_id": stream_object_id(streams[1])})
    await change(database, streams[2], {"$set": {"version": 400}})
    half = await projected_to(database, streams[3], 4)
    await change(database, streams[3], {"$set": half})


async def projected_to(database: Database, stream: str, version: int) -> Document:
    identity = stream_object_id(stream)
    before = await database.user_progress.find_one({"_id": identity})
    await database.user_progress.delete_one({"_id": identity})
    await projector(database).project({stream: version})
    half = await database.user_progress.find_one_and_delete({"_id": identity})
    assert before is not None
    assert half is not None
    await database.user_progress.insert_one(before)
    return {name: value for name, value in half.items() if name not in ("_id", "rev")}


async def test_a_dry_run_names_what_differs_and_changes_nothing(database: Database) -> None:
    streams = await stored(database)
    await damage(database, streams)
    before = await database.user_progress.find({}).to_list(None)

    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress(), dry_run=True)

    told = {name: result.run.counts[name] for name in ("streams", "differing", "missing", "behind", "failed")}
    assert told == {"streams": 12, "differing": 3, "missing": 1, "behind": 1, "failed": 0}
    assert sorted(result.outcome["differing_streams"], reverse=True) == streams[:3]
    assert result.outcome["paths"] == {"progress": 1, "version": 1}
    assert result.outcome["estimate_s"] > 0
    assert REBUILD_PROGRESS.differs(result.outcome)
    assert await database.user_progress.find({}).to_list(None) == before


async def test_documents_are_as_their_events_say_and_what_is_right_is_not_written(database: Database) -> None:
    streams = await stored(database)
    await damage(database, streams)
    before = {each["stream_id"]: each for each in await database.user_progress.find({}).to_list(None)}

    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress())

    assert await documents(database) == await expected(database)
    assert (result.run.counts["changed"], result.run.counts["unchanged"]) == (4, 8)
    assert sorted(result.outcome["replaced_streams"], reverse=True) == streams[:4]
    after = {each["stream_id"]: each for each in await database.user_progress.find({}).to_list(None)}
    assert {stream: after[stream] for stream in streams[4:]} == {
        stream: before[stream] for stream in streams[4:]
    }
    assert all(after[stream]["bookmarked"] for stream in streams if stream != streams[1])


@pytest.mark.parametrize("by", ["learner", "streams"])
async def test_only_what_is_selected_is_mended(database: Database, by: str) -> None:
    streams = await stored(database)
    await damage(database, streams)
    user = (parse_stream_id(streams[1]) or {})["user_id"]
    only = {"learner": StreamSelection(learner=str(user)), "streams": StreamSelection(streams=(streams[1],))}[
        by
    ]

    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress(of=only))

    assert (result.run.counts["streams"], result.run.counts["changed"]) == (1, 1)
    wanted, found = await expected(database), await documents(database)
    assert {stream for stream in streams if found.get(stream) != wanted[stream]} == {
        streams[0],
        *streams[2:4],
    }
    assert result.run.selection == only.model_dump(mode="json", exclude_defaults=True)


async def test_readers_miss_no_document_and_a_live_fold_beside_it_loses_nothing(database: Database) -> None:
    """Every document is altered; while it is mended a reader counts, and later events arrive."""
    streams = await stored(database, learners=30, events=9)
    more = histories(30, 14)
    await database.user_progress.update_many({}, {"$set": {"progress.percentage": 1.5}})
    missed: list[int] = []
    going = True

    async def read() -> None:
        while going:
            missed.append(30 - await database.user_progress.count_documents({}))
            await asyncio.sleep(0)

    async def live() -> None:
        live_projector = projector(database)
        for stream in streams:
            await store(database, more[stream][9:])
            await live_projector.project({stream: 14})

    reader = asyncio.create_task(read())
    try:
        await asyncio.gather(live(), runner(database).run(REBUILD_PROGRESS, RebuildProgress(parallel=3)))
    finally:
        going = False
        await reader
    await runner(database).run(REBUILD_PROGRESS, RebuildProgress())  # what was folded on before it was mended
    assert set(missed) == {0}
    assert await documents(database) == await expected(database)


async def test_killed_at_any_step_it_goes_on_and_ends_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.rebuild_progress.STREAMS_A_STEP", 2)
    await stored(database)
    await database.user_progress.update_many({}, {"$set": {"progress.percentage": 1.5}})
    for step in range(2, 13, 2):  # killed with every step it has saved, and once more right before its end
        with pytest.raises(asyncio.CancelledError):
            await killed_at(database, step)
    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress())
    assert (result.run.attempts, result.run.progress.done) == (7, 12)
    assert await documents(database) == await expected(database)


async def killed_at(database: Database, done: int) -> None:
    """Run until so many streams are done, and end it as it stands."""

    def observe(step: Progress) -> None:
        if step.done >= done:
            running.cancel()

    running = asyncio.create_task(runner(database, observe=observe).run(REBUILD_PROGRESS, RebuildProgress()))
    await running


async def test_a_stream_whose_fold_fails_is_named_and_waits_in_the_queue(database: Database) -> None:
    streams = await stored(database)
    event = await database.course_events.find_one({"stream_id": streams[5], "version": 3})
    assert event is not None
    await database.course_events.with_options().database.command(
        "update",
        "course_events",
        updates=[{"q": {"stream_id": streams[5], "version": 3}, "u": {"$set": {"occurred_at": "odd"}}}],
        bypassDocumentValidation=True,
    )
    await change(database, streams[0], {"$set": {"progress.percentage": 99.0}})
    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress())
    assert (result.run.counts["failed"], result.run.counts["changed"]) == (1, 1)
    assert result.outcome["failed_streams"] == [streams[5]]
    assert REBUILD_PROGRESS.differs(result.outcome)
    [item] = await database.analytics_queue.find({}).to_list(None)
    assert (item["stream_id"], item["version"]) == (streams[5], 3)


async def test_a_document_made_by_a_newer_fold_is_left_alone(database: Database) -> None:
    streams = await stored(database)
    newer = variant(99)
    await projector(database, projection=newer).project({streams[0]: 9})
    before = await database.user_progress.find_one({"_id": stream_object_id(streams[0])})
    result = await runner(database).run(REBUILD_PROGRESS, RebuildProgress())
    assert result.run.counts["newer"] == 1
    assert await database.user_progress.find_one({"_id": stream_object_id(streams[0])}) == before


@pytest.mark.parametrize(
    ("status", "followed", "by"),
    [
        ("sent", True, "retry"),
        ("suppressed", True, "replay"),
        (None, True, "replay"),  # it was folded, so that the row is lost as well: nothing is sent again
        (None, False, "retry"),  # nobody has folded it live yet: it is announced, once
    ],
)
async def test_a_lost_document_is_met_again_so_that_nobody_is_told_twice_or_never(
    database: Database, status: str | None, followed: bool, by: str
) -> None:
    [stream] = await stored(database, learners=1)
    about = parse_stream_id(stream) or {}
    now = SystemClock().now()
    if status is not None:
        row = notification_row(
            "welcome", stream, about["user_id"], about["course_id"], by="live", data={}, now=now
        )
        await database.notifications.insert_one({**row, "status": status})
    if followed:
        token = {"_data": f"82{int(now.timestamp()) + 120:08x}00000001"}
        positions = Positions(database, "progress", {})
        await positions.take(dict.fromkeys(range(GROUPS), 1))
        await positions.save(dict.fromkeys(range(GROUPS), 1), token)
    await database.user_progress.delete_many({})
    await runner(database).run(REBUILD_PROGRESS, RebuildProgress())
    made = await database.user_progress.find_one({})
    assert made is not None
    assert made["milestones"]["welcome"]["by"] == by


async def test_a_projection_that_does_not_exist_is_named_with_those_that_do(database: Database) -> None:
    with pytest.raises(Misconfigured, match="no stream projection has the name 'grades'; there is progress"):
        await runner(database).run(REBUILD_PROGRESS, RebuildProgress(projection="grades"))
