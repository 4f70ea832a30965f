"""Parts of a stream: there before the document names them, the same in any order of arrival, and never taken back."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.support.failpoints import failing
from tests.support.progress import fold_dependencies, histories, projector, running, store
from tests.support.stream_parts import (
    BROKEN,
    CATALOGUE,
    LESSONS,
    PADDING,
    documents,
    expected,
    named,
    of_version,
    own_database,
    part_id,
    parts,
)
from worker.contract.identity import foreign_object_id
from worker.errors import Retryable
from worker.storage.database import Database, Document, open_database
from worker.watch.folds.fold import fold_run
from worker.watch.folds.parts import PartsWriter
from worker.watch.folds.plan import Run, Task
from worker.watch.folds.projector import Tally
from worker.watch.folds.rebuild import DocumentRebuild
from worker.watch.folds.refold import Refold

EVENTS = 24
LESSON = foreign_object_id("lesson-2")


@pytest.fixture
async def own(database: Database) -> AsyncIterator[Database]:
    async with own_database(database) as opened:
        yield opened


def learner(events: int = EVENTS) -> tuple[str, list[Document]]:
    [(stream, stored)] = histories(learners=1, events=events).items()
    return stream, stored


def shuffled(events: Sequence[Document], seed: int) -> list[Document]:
    return random.Random(seed).sample(events, len(events))  # noqa: S311 - an order, the same each time


def as_arrived(events: Sequence[Document]) -> list[Document]:
    """The same events, with versions in this order of arrival."""
    return [{**event, "version": place} for place, event in enumerate(events, 1)]


async def project(database: Database, stream: str, version: int, **more: Any) -> None:
    await projector(database, projection=more.pop("projection", LESSONS), **more).project({stream: version})


async def test_any_order_of_arrival_and_any_batches_give_the_same_parts(own: Database) -> None:
    stream, events = learner()
    orders = [events, events[::-1], *(shuffled(events, seed) for seed in range(3))]
    for order in orders:
        arrived, at = as_arrived(order), 0
        for step in (1, 4, 2, 9, 8):
            await store(own, arrived[at : at + step])
            await project(own, stream, at + step)
            at += step
            assert await parts(own) == expected(arrived[:at])
            [document] = (await documents(own)).values()
            assert {each["_id"]: each["event_version"] for each in await stored_parts(own)} == named(document)
        await clear(own)


async def test_a_reader_finds_every_part_that_a_document_names(own: Database) -> None:
    streams = histories(learners=12, events=EVENTS)
    done = asyncio.Event()
    seen = 0

    async def read() -> None:
        nonlocal seen
        while not done.is_set():
            for document in (await documents(own)).values():
                wanted = [*named(document)]
                there = await own.collection("lesson_beginnings").count_documents({"_id": {"$in": wanted}})
                assert there == len(wanted)
                seen += there

    reader = asyncio.create_task(read())
    try:
        for last in range(4, EVENTS + 1, 4):
            await store(own, [event for events in streams.values() for event in events[last - 4 : last]])
            await projector(own, projection=LESSONS).project(dict.fromkeys(streams, last))
    finally:
        done.set()
        await reader
    assert seen > 0
    assert await parts(own) == expected([event for events in streams.values() for event in events])


async def test_who_is_killed_between_a_part_and_its_document_is_followed_by_one_who_writes_both(
    own: Database, watched: Database
) -> None:
    stream, events = learner()
    dying = open_database(watched.client, watched.prefix, CATALOGUE)
    async with running(dying, projection=LESSONS, lease_s=2.0) as first:
        await first.until_following()
        async with failing(dying, ["insert"], code=189, times=10_000, collection="lessons"):
            await store(own, events)

            async def written() -> bool:
                return len(await stored_parts(own)) == 4

            await first.until(written, "the parts are written")
            await first.kill()
    assert await documents(own) == {}
    async with running(own, projection=LESSONS) as second:

        async def named_by_its_head() -> bool:
            return stream in await documents(own)

        await second.until(named_by_its_head, "the document names them")
    assert await parts(own) == expected(events)
    assert {each["rev"] for each in await stored_parts(own)} == {2}


async def test_who_is_killed_at_any_write_leaves_what_readers_and_the_next_one_can_go_on_with(
    own: Database, watched: Database
) -> None:
    """Parts and documents are made, changed by late events, and removed with an event that is skipped."""
    stream, events = learner()
    arrived = as_arrived([*events[12:], *events[:12]])
    only = [event for event in arrived if event["event_data"].get("lesson_id") == LESSON]
    dying = open_database(watched.client, watched.prefix, CATALOGUE)

    async def all_of_it(database: Database) -> None:
        await project(database, stream, 12)
        await project(database, stream, EVENTS)
        await own.skipped_versions.delete_many({})
        await own.skipped_versions.insert_many([decision(stream, event) for event in only])
        await project(database, stream, EVENTS, doubting=True)

    points = 0
    while True:
        await clear(own)
        await own.skipped_versions.delete_many({})
        await store(own, arrived)
        async with dead_after(own, points):
            try:
                await all_of_it(dying)
                survived = True
            except Retryable:
                survived = False
        for document in (await documents(own)).values():
            assert named(document).keys() <= (await parts(own)).keys()
        await all_of_it(own)
        assert await parts(own) == expected([event for event in arrived if event not in only])
        if survived:
            break
        points += 1
    assert points >= 6  # parts and document, three times, and the removal


@contextlib.asynccontextmanager
async def dead_after(database: Database, writes: int) -> AsyncIterator[None]:
    """As if killed: after so many writes none of this client's has an effect any more."""
    commands = ["insert", "update", "delete"]
    data = {"failCommands": commands, "errorCode": 262, "appName": database.prefix}
    admin = database.client.admin
    await admin.command({"configureFailPoint": "failCommand", "mode": {"skip": writes}, "data": data})
    try:
        yield
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})


async def test_who_was_held_up_never_puts_an_older_part_in_place_of_a_newer_one(own: Database) -> None:
    stream, events = learner()
    late = {**events[2], "occurred_at": events[0]["occurred_at"] - timedelta(hours=1)}
    arrived = as_arrived([*events[:2], *events[3:], late])
    await store(own, arrived)
    zombie = fold_run(LESSONS, Run(Task(stream, None, 0, EVENTS - 1), arrived[:-1]), "live")
    await project(own, stream, EVENTS)
    before = await stored_parts(own)

    assert LESSONS.parts is not None
    written = await PartsWriter(fold_dependencies(own, LESSONS), LESSONS.parts).write([zombie])

    assert (written.changed, written.unready) == (set(), set())
    assert await stored_parts(own) == before
    assert await parts(own) == expected(arrived)


async def test_projectors_of_two_versions_on_the_same_streams_at_once_leave_what_the_newer_one_makes(
    own: Database,
) -> None:
    streams = histories(learners=8, events=EVENTS)
    orders = {stream: as_arrived(shuffled(events, 4)) for stream, events in streams.items()}
    for last in (8, 16, EVENTS):
        await store(own, [event for events in orders.values() for event in events[last - 8 : last]])
        newest = dict.fromkeys(streams, last)
        projections = [LESSONS, LESSONS, of_version(2), of_version(2)]
        await asyncio.gather(*(projector(own, projection=each).project(newest) for each in projections))

    wanted = expected([event for events in orders.values() for event in events])
    assert await parts(own) == {key: {**each, "projection_version": 2} for key, each in wanted.items()}


async def test_a_part_that_cannot_be_made_keeps_its_document_waiting_and_no_other(own: Database) -> None:
    streams = histories(learners=3, events=EVENTS)
    [bad, *good] = streams
    broken = streams[bad][14]
    BROKEN.add(broken["_id"])
    await store(own, [event for events in streams.values() for event in events])
    await projector(own, projection=LESSONS).project(dict.fromkeys(streams, EVENTS))

    assert sorted(await documents(own)) == sorted(good)
    [item] = await own.analytics_queue.find({}).to_list(None)
    assert (item["_id"], item["version"], item["error_class"]) == (f"lessons:{bad}", 15, "ArithmeticError")
    BROKEN.clear()
    await Refold(fold_dependencies(own, LESSONS))([bad])
    assert await parts(own) == expected([event for events in streams.values() for event in events])


async def test_a_part_that_the_server_refuses_keeps_its_document_waiting(own: Database) -> None:
    stream, events = learner()
    await store(own, events)
    PADDING[""] = "x" * (16 * 1024 * 1024)
    await project(own, stream, EVENTS)
    [item] = await own.analytics_queue.find({}).to_list(None)
    assert (item["_id"], item["error_class"]) == (f"lessons:{stream}", "Refused")
    assert await documents(own) == {}


async def test_parts_larger_than_one_write_are_written_one_after_the_other(own: Database) -> None:
    stream, events = learner()
    await store(own, events)
    PADDING[""] = "x" * 3_000_000
    await project(own, stream, EVENTS)
    assert await parts(own) == expected(events)


async def test_a_skipped_event_takes_its_part_with_it_and_changes_the_others(own: Database) -> None:
    stream, events = learner()
    only = [e for e in events if e["event_data"].get("lesson_id") == LESSON]
    await store(own, events)
    await project(own, stream, EVENTS)
    assert part_id(stream, LESSON) in await parts(own)

    await own.skipped_versions.insert_many([decision(stream, event) for event in only])
    await project(own, stream, EVENTS, doubting=True)

    left = [event for event in events if event not in only]
    assert await parts(own) == expected(left)
    [document] = (await documents(own)).values()
    assert LESSON not in document["lessons"]


async def test_who_is_killed_before_a_part_is_removed_is_followed_by_one_who_removes_it(
    own: Database,
) -> None:
    stream, events = learner()
    await store(own, events)
    await project(own, stream, EVENTS)
    beginnings = own.collection("lesson_beginnings")
    [one, *_] = await stored_parts(own)
    ahead = {**one, "_id": foreign_object_id("of an event to come"), "event_version": EVENTS + 1}
    await beginnings.insert_many([{**one, "_id": foreign_object_id("a former one")}, ahead])

    await project(own, stream, EVENTS)  # the stream is told of again

    left = {each["_id"] for each in await stored_parts(own)}
    assert left == {*expected(events), ahead["_id"]}


async def test_a_rebuild_mends_whatever_somebody_did_to_parts_and_tells_of_it(own: Database) -> None:
    streams = histories(learners=3, events=EVENTS)
    await store(own, [event for events in streams.values() for event in events])
    await projector(own, projection=LESSONS).project(dict.fromkeys(streams, EVENTS))
    right = await parts(own)
    beginnings = own.collection("lesson_beginnings")
    [bad, other, _] = streams
    ids = [part_id(bad, foreign_object_id(f"lesson-{n}")) for n in range(4)]
    await beginnings.update_one({"_id": ids[0]}, {"$set": {"before": []}})
    await beginnings.update_one({"_id": ids[1]}, {"$set": {"event_version": 999, "before": []}})
    await beginnings.delete_one({"_id": ids[2]})
    await beginnings.insert_one(
        {**(await stored_parts(own))[0], "_id": foreign_object_id("x"), "stream_id": bad}
    )
    await beginnings.update_one(
        {"_id": part_id(other, LESSON)}, {"$set": {"projection_version": 7, "padding": "newer"}}
    )
    rebuild = DocumentRebuild(fold_dependencies(own, LESSONS))

    compared = await rebuild.compare([*streams])
    rebuilt = await rebuild([*streams])

    assert (sorted(compared.examples), compared.paths) == (sorted([bad, other]), {"lesson_beginnings": 2})
    assert rebuilt.done.changed == {bad}
    newer = part_id(other, LESSON)
    assert (await beginnings.find_one({"_id": newer}) or {})["padding"] == "newer"
    after = await parts(own)
    assert {key: each for key, each in after.items() if key != newer} == {
        key: each for key, each in right.items() if key != newer
    }
    assert (await rebuild([bad])).done == Tally(EVENTS, set(), {bad})


async def test_an_older_fold_s_parts_are_made_again_at_start(own: Database) -> None:
    streams = histories(learners=5, events=EVENTS)
    await store(own, [event for events in streams.values() for event in events])
    await projector(own, projection=LESSONS).project(dict.fromkeys(streams, EVENTS))

    async with running(own, projection=of_version(2)) as newer:

        async def made_again() -> bool:
            query: Document = {"projection_version": 2}
            return await own.collection("lessons").count_documents(query) == len(streams)

        await newer.until(made_again, "all documents folded anew")
    assert {each["projection_version"] for each in await stored_parts(own)} == {2}


async def stored_parts(database: Database) -> list[Document]:
    found: list[Document] = (
        await database.collection("lesson_beginnings").find({}).sort("_id", 1).to_list(None)
    )
    return found


async def clear(database: Database) -> None:
    for name in ("lessons", "lesson_beginnings", "course_events"):
        await database.collection(name).delete_many({})


def decision(stream: str, event: Document) -> Document:
    """That an operator has decided to leave the event out."""
    return {
        "_id": f"lessons:{stream}:{event['version']}",
        "projection": "lessons",
        "stream_id": stream,
        "version": event["version"],
        "event_id": event["_id"],
        "event_type": event["event_type"],
        "failure": None,
        "who": "anna@ops",
        "reason": "wrong",
        "automatic": False,
        "decided_at": event["recorded_at"],
        "recorded_at": event["recorded_at"],
        "taken_back_at": None,
        "taken_back_by": None,
    }
