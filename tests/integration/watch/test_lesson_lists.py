"""Events that name a list of lessons are folded with it, and not at all while it is not stored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from tests.conftest import RunningMongo
from tests.support.jobs import runner
from tests.support.progress import (
    Histories,
    documents,
    expected,
    highest_versions,
    histories,
    projector,
    store,
)
from tests.support.progress import running as watching
from tests.support.retry import LIMITS, folding, running, stored
from tests.support.seen_commands import seen_by
from tests.support.settings import changed
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.queries.explain import explain
from worker.storage.database import Database, Document
from worker.storage.known_lists import KnownLists
from worker.storage.lesson_lists import lesson_list_id, store_lists
from worker.timing import SystemClock
from worker.verify.run import verify

WORDS = "the list of lessons that it names is not stored"
LISTED = b"".join(ObjectId().binary for _ in range(60))
NAMED = {"version": "1", "lesson_list": lesson_list_id(LISTED)}
INLINE = {"version": "1", "lessons": LISTED}


def beginning(events: Sequence[Document], curriculum: Document) -> list[Document]:
    """The learner's events, the first of which names the list."""
    return [{**events[0], "curriculum": curriculum}, *events[1:]]


def another(database: Database) -> Database:
    """As another process has it: it has read no lists yet."""
    return replace(database, known_lists=KnownLists())


async def put_list(database: Database) -> None:
    await store_lists(database, [LISTED], SystemClock().now())


async def store_named(database: Database, learners: int, *, without_list: int = 0) -> Histories:
    """Learners whose streams name the list, the last of them without; events of all of them are stored."""
    streams = histories(learners, events=9)
    plain = [*streams][learners - without_list :]
    named = {
        stream: events if stream in plain else beginning(events, NAMED) for stream, events in streams.items()
    }
    await store(database, [event for events in named.values() for event in events])
    return named


async def alter(database: Database) -> None:
    await put_list(database)
    change = [{"$set": {"lessons": LISTED[12:]}}]
    await database.lesson_lists.update_one({}, change)


async def remove(database: Database) -> None:
    await put_list(database)
    await database.lesson_lists.delete_many({})


async def test_an_event_that_names_the_list_means_what_one_that_has_it_meant(database: Database) -> None:
    streams = histories(learners=4, events=9)
    await put_list(database)
    await store(database, [event for events in streams.values() for event in beginning(events, INLINE)])
    await projector(database).project(dict.fromkeys(streams, 9))
    before = await documents(database)
    assert await expected(database) == before
    assert {len(each["state"]["curricula"]) for each in before.values()} == {1}

    await database.course_events.update_many({"version": 1}, {"$set": {"curriculum": NAMED}})
    await database.user_progress.delete_many({})
    await projector(another(database)).project(dict.fromkeys(streams, 9))

    assert await documents(database) == before


async def test_both_in_one_stream_are_one_list(database: Database) -> None:
    [(stream, events)] = histories(learners=1, events=9).items()
    await put_list(database)
    await store(
        database, [{**each, "curriculum": INLINE if n % 2 else NAMED} for n, each in enumerate(events)]
    )
    await projector(database).project({stream: 9})
    [document] = (await documents(database)).values()
    assert len(document["state"]["curricula"]) == 1
    assert await documents(database) == await expected(database)


@pytest.mark.parametrize("damage", [alter, remove])
async def test_a_stream_whose_list_is_gone_waits_and_a_retry_heals_it(
    database: Database, damage: Any
) -> None:
    await damage(database)
    async with watching(another(database)) as watcher:
        await watcher.until_following()
        streams = await store_named(database, 4, without_list=2)
        [first, second, *plain] = streams

        async def quarantined() -> bool:
            return await database.analytics_queue.count_documents({}) == 2

        await watcher.until(quarantined, "both are in quarantine")
        await watcher.until(lambda: watcher.applied() == 2 * 9, "the others are folded")
        for stream in (first, second):
            item = await stored(database, f"progress:{stream}")
            assert (item["error_class"], item["last_error"]) == ("ListNotStored", WORDS)
            assert item["data"]["event_id"] == streams[stream][0]["_id"]
        assert set(await documents(database)) == set(plain)

        await put_list(database)
        async with running(database, folding(database), limits=LIMITS) as retry:
            await retry.until_status("completed", 2)
    assert await documents(database) == await expected(database)
    assert set(await documents(database)) == set(streams)


async def test_an_event_whose_list_is_gone_is_never_skipped_by_itself(database: Database) -> None:
    [stream] = await store_named(database, 1)
    await projector(database).project({stream: 9})
    limits = changed(LIMITS, skip_bad_events=True, max_attempts=2)
    async with running(database, folding(database, limits=limits), limits=limits) as retry:
        await retry.until_status("failed", 1)
    assert await database.skipped_versions.count_documents({}) == 0


@pytest.mark.parametrize("damage", [alter, remove])
async def test_verify_and_explain_say_so_whatever_this_process_has_read(
    database: Database, damage: Any
) -> None:
    await put_list(database)
    streams = await store_named(database, 3, without_list=1)
    await projector(database).project(await highest_versions(database))
    assert await folds_that_fail(database) == []

    await damage(database)

    named = [*streams][:2]
    told = f"ListNotStored ({WORDS}) at version 1 or later"
    assert await folds_that_fail(database) == sorted((stream, told) for stream in named)
    found = await explain(another(database), named[0])
    assert not found.whole
    assert [WORDS in each.detail for each in found.remarks] == [True]
    await put_list(database)
    assert await folds_that_fail(database) == []
    assert (await explain(another(database), named[0])).whole


async def folds_that_fail(database: Database) -> list[tuple[str, str]]:
    """What `verify` says of progress; rows and statistics nobody has made here."""
    checked = await verify(database, quiescent=True)
    found = [each for each in checked.findings if each.kind == "progress"]
    assert {each.fault for each in found} <= {"fold_failed"}
    return sorted((each.subject, each.detail) for each in found)


async def test_documents_that_were_damaged_are_made_again_with_their_lists(database: Database) -> None:
    await put_list(database)
    streams = await store_named(database, 6)
    await projector(database).project(await highest_versions(database))
    before = await documents(database)
    await database.user_progress.update_many({}, {"$set": {"lesson_progress": [], "state.curricula": {}}})

    result = await runner(another(database)).run(REBUILD_PROGRESS, RebuildProgress())

    assert result.run.counts["changed"] == len(streams)
    assert await documents(database) == before == await expected(database)


async def test_one_query_reads_the_lists_of_a_page_and_none_those_that_are_known(
    database: Database, mongodb: RunningMongo
) -> None:
    lists = [ObjectId().binary * number for number in range(1, 7)]
    await store_lists(database, lists, SystemClock().now())
    streams = histories(learners=6, events=2)
    for events, listed in zip(streams.values(), lists, strict=True):
        await store(database, beginning(events, {"lesson_list": lesson_list_id(listed)}))
    async with seen_by(mongodb.uri, database) as (watched, commands):
        for _ in range(2):
            await projector(watched).project(dict.fromkeys(streams, 2))
            assert commands.begun.count(("find", "lesson_lists")) == 1
            await database.user_progress.delete_many({})
