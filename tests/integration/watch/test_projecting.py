"""Holes, failing folds, other versions of the fold, and two writers on one document."""

import asyncio
from typing import Any

import pytest

from projections.progress.projection import PROGRESS
from tests.support.progress import (
    documents,
    expected,
    highest_versions,
    histories,
    interleaved,
    projector,
    running,
    store,
    variant,
)
from worker.contract.identity import foreign_object_id, stream_object_id, void_event_id
from worker.storage.database import Database, Document
from worker.watch.folds.fold import fold_run
from worker.watch.folds.plan import Run, Task
from worker.watch.folds.writing import write_all

BAD_LESSON = foreign_object_id("lesson-1")
NEXT = PROGRESS.version + 1


@pytest.mark.parametrize("missing", [[1], [3], [2, 3, 5], [1, 2, 3, 4, 5]])
async def test_a_hole_is_filled_at_once_and_the_stream_goes_on(
    database: Database, missing: list[int]
) -> None:
    [(stream, events)] = histories(learners=1, events=6).items()
    async with running(database) as watcher:
        await watcher.until_following()
        await store(database, [event for event in events if event["version"] not in missing])
        await watcher.until_current()

        assert watcher.value("version_holes_filled_total") == len(missing)
        await watcher.until_moved("version_holes_filled_total")
    voids = await database.course_events.find({"event_type": "void"}).to_list(None)
    assert {void["_id"] for void in voids} == {void_event_id(stream, version) for version in missing}


async def test_many_who_meet_the_same_hole_fill_it_once(database: Database) -> None:
    streams = histories(learners=20, events=7)
    await store(database, [event for event in interleaved(streams) if event["version"] != 4])
    heads = await highest_versions(database)

    await asyncio.gather(*(projector(database).project(heads) for _ in range(4)))

    assert await database.course_events.count_documents({"event_type": "void"}) == 20
    assert await documents(database) == await expected(database)


async def test_projectors_on_the_same_streams_at_once_give_the_documents_of_one(database: Database) -> None:
    streams = histories(learners=50, events=12)
    for last in (3, 7, 12):
        await store(database, interleaved(streams, {3: 1, 7: 4, 12: 8}[last], last))
        heads = dict.fromkeys(streams, last)
        await asyncio.gather(*(projector(database).project(heads) for _ in range(4)))

    assert await documents(database) == await expected(database)
    revisions = await database.user_progress.distinct("rev")
    assert revisions == [3]


async def test_a_fold_that_raises_sets_only_its_stream_aside(database: Database) -> None:
    streams = histories(learners=6, events=10)
    good = {stream: events[:4] for stream, events in list(streams.items())[:5]}
    [(bad_stream, bad_events)] = list(streams.items())[5:]
    failing_version = first_of_lesson(bad_events)
    async with running(database, projection=variant(fails_on=BAD_LESSON)) as watcher:
        await watcher.until_following()
        await store(database, [*interleaved(good), *bad_events])
        await watcher.until(lambda: watcher.applied("failed") >= 1, "the failure met")
        await watcher.until(lambda: watcher.applied() == 5 * 4 + failing_version - 1, "the others folded")

    [item] = await database.analytics_queue.find({}).to_list(None)
    assert item["_id"] == f"progress:{bad_stream}"
    assert (item["status"], item["retry_count"], item["stream_id"]) == ("pending", 0, bad_stream)
    assert (item["version"], item["error_class"]) == (failing_version, "ArithmeticError")
    assert item["code_version"] == "test"
    assert "bug" not in item["last_error"]
    found = await documents(database)
    assert found[bad_stream]["version"] == failing_version - 1
    assert {stream: found[stream]["version"] for stream in good} == dict.fromkeys(good, 4)


async def test_after_the_fix_the_documents_are_those_of_a_run_that_never_failed(database: Database) -> None:
    streams = histories(learners=8, events=12)
    async with running(database, projection=variant(fails_on=BAD_LESSON)) as broken:
        await broken.until_following()
        await store(database, interleaved(streams, 1, 9))
        await broken.until(lambda: broken.applied("failed") >= 8, "all have failed")

    async with running(database) as fixed:
        await fixed.until_following()
        await store(database, interleaved(streams, 10))
        await fixed.until_current()


async def test_a_quarantined_stream_makes_one_item_however_often_it_changes(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=12).items()
    failing_version = first_of_lesson(events)
    blocked = projector(database, projection=variant(fails_on=BAD_LESSON))
    for event in events:
        await store(database, [event])
        await blocked.project({stream: event["version"]})
    again = projector(database, projection=variant(fails_on=BAD_LESSON))
    await again.project({stream: 12})

    [item] = await database.analytics_queue.find({}).to_list(None)
    assert item["version"] == failing_version
    assert (await documents(database))[stream]["version"] == failing_version - 1


async def test_a_completed_item_is_opened_again_when_its_stream_fails_again(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=9).items()
    await store(database, events)
    await projector(database, projection=variant(fails_on=BAD_LESSON)).project({stream: 9})
    await database.analytics_queue.update_many({}, {"$set": {"status": "completed", "retry_count": 3}})

    await projector(database, projection=variant(fails_on=BAD_LESSON)).project({stream: 9})

    [item] = await database.analytics_queue.find({}).to_list(None)
    assert (item["status"], item["retry_count"]) == ("pending", 0)


async def test_an_older_fold_s_documents_are_brought_up_at_start_although_the_token_is_good(
    database: Database,
) -> None:
    streams = histories(learners=20, events=6)
    async with running(database) as old:
        await old.until_following()
        await store(database, interleaved(streams))
        await old.until_past(20 * 6)

    async with running(database, projection=variant(NEXT)) as new:

        async def all_new() -> bool:
            return await database.user_progress.count_documents({"projection_version": NEXT}) == 20

        await new.until(all_new, "all documents folded anew")
        assert new.changes() == 0
    kept = [
        each["milestones"]["welcome"]["by"] for each in await database.user_progress.find({}).to_list(None)
    ]
    assert kept == ["live"] * 20


async def test_a_newer_fold_s_documents_are_left_alone(database: Database) -> None:
    streams = histories(learners=5, events=6)
    async with running(database, projection=variant(NEXT)) as new:
        await new.until_following()
        await store(database, interleaved(streams, 1, 4))
        await new.until(lambda: new.applied() == 5 * 4, "folded by the newer code")
    before = await database.user_progress.find({}).sort("_id", 1).to_list(None)

    async with running(database) as old:
        await old.until_following()
        await store(database, interleaved(streams, 5))
        await old.until(lambda: old.applied("stale") >= 5, "left alone")
        assert old.applied() == 0
    assert await database.user_progress.find({}).sort("_id", 1).to_list(None) == before

    async with running(database, projection=variant(NEXT)) as new_again:

        async def all_current() -> bool:
            return await database.user_progress.count_documents({"version": 6}) == 5

        await new_again.until(all_current, "what the older code passed over was caught up")


async def test_two_versions_of_the_fold_side_by_side_do_not_flap(database: Database) -> None:
    streams = histories(learners=30, events=8)
    old, new = projector(database), projector(database, projection=variant(NEXT))
    for version in range(1, 9):
        await store(database, interleaved(streams, version, version))
        heads = dict.fromkeys(streams, version)
        await asyncio.gather(old.project(heads), new.project(heads))

    found = await documents(database)
    assert {document["projection_version"] for document in found.values()} == {NEXT}
    wanted = await expected(database)
    assert found == {stream: {**wanted[stream], "projection_version": NEXT} for stream in wanted}


async def test_a_failing_new_fold_keeps_the_older_document_until_it_is_fixed(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=12).items()
    await store(database, events)
    await projector(database).project({stream: 12})
    before = await database.user_progress.find_one({})

    await projector(database, projection=variant(NEXT, fails_on=BAD_LESSON)).project({stream: 12})

    assert await database.user_progress.find_one({}) == before
    assert await database.analytics_queue.count_documents({}) == 1


async def test_a_writer_with_an_old_revision_loses(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=6).items()
    await store(database, events)
    await projector(database).project({stream: 3})
    stale = await database.user_progress.find_one({"_id": stream_object_id(stream)})
    zombie = fold_run(PROGRESS, Run(Task(stream, stale, 3, 4), events[3:4]), "live")
    await projector(database).project({stream: 6})
    before = await database.user_progress.find_one({})

    written = await write_all(database.user_progress, [zombie])

    assert written.done == []
    assert written.unproven == [zombie]
    assert await database.user_progress.find_one({}) == before


async def test_a_zombie_that_thinks_a_stream_is_new_loses(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=6).items()
    await store(database, events)
    zombie = fold_run(PROGRESS, Run(Task(stream, None, 0, 1), events[:1]), "live")
    await projector(database).project({stream: 6})

    written = await write_all(database.user_progress, [zombie])

    assert written.unproven == [zombie]
    assert (await documents(database))[stream]["version"] == 6


@pytest.mark.parametrize("projection", [PROGRESS, variant(NEXT)])
async def test_a_long_stream_is_folded_page_by_page(database: Database, projection: Any) -> None:
    [(stream, events)] = histories(learners=1, events=95).items()
    await store(database, events)
    if projection is not PROGRESS:
        await projector(database).project({stream: 90})

    await projector(database, projection=projection, events_per_round=10).project({stream: 95})

    wanted = await expected(database)
    version = projection.version
    assert await documents(database) == {stream: {**wanted[stream], "projection_version": version}}


async def test_a_document_the_store_refuses_sets_only_its_stream_aside(database: Database) -> None:
    streams = histories(learners=4, events=5)
    [target, *others] = streams
    await store(database, interleaved(streams))
    await projector(database).project({target: 1})
    stolen = await database.user_progress.find_one_and_delete({})
    assert stolen is not None
    await database.user_progress.insert_one({**stolen, "_id": foreign_object_id("made elsewhere")})

    await projector(database).project(dict.fromkeys(streams, 5))

    [item] = await database.analytics_queue.find({}).to_list(None)
    assert (item["stream_id"], item["error_class"]) == (target, "Refused")
    found = await documents(database)
    assert {found[stream]["version"] for stream in others} == {5}


async def test_a_wake_up_for_erased_events_ends(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=6).items()
    await store(database, events[:4])

    await projector(database).project({stream: 6})

    assert (await documents(database))[stream]["version"] == 4


def first_of_lesson(events: list[Document]) -> int:
    return next(int(e["version"]) for e in events if e["event_data"].get("lesson_id") == BAD_LESSON)
