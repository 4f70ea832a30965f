"""What ingest knows of courses: read again when it is old, decoded again only where something else stands there."""

import asyncio
from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from tests.conftest import RunningMongo
from tests.support.clocks import ManualClock
from tests.support.seen_commands import seen_by
from tests.unit.ingest.samples import candidate
from worker.ingest.enrich.course import KnownCourse
from worker.ingest.enrich.stamps import COURSES_AGE_S, UNKNOWN_AGE_S, Enricher
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.lesson_lists import lesson_list_id

FIRST, SECOND, THIRD = ObjectId(), ObjectId(), ObjectId()
LESSONS = [ObjectId() for _ in range(3)]


def course(course_id: ObjectId, version: str, topic: str = "Closures") -> dict[str, Any]:
    lessons = [{"_id": each, "type": "video", "topic": topic} for each in LESSONS]
    return {
        "_id": course_id,
        "slug": str(course_id),
        "publication": {"version": version},
        "curriculum": [{"_id": course_id, "lessons": lessons}],
    }


async def store(database: Database, *courses: Mapping[str, Any]) -> None:
    for each in courses:
        await database.courses.replace_one(
            {"_id": each["_id"]}, each, upsert=True, bypass_document_validation=True
        )


async def known(enricher: Enricher) -> Mapping[ObjectId, KnownCourse]:
    asked = [candidate(n, n, course_id=each) for n, each in enumerate((FIRST, SECOND, THIRD))]
    return (await enricher.stamps(asked)).courses


async def test_a_course_is_decoded_again_only_where_it_says_something_else(database: Database) -> None:
    clock = ManualClock()
    enricher = Enricher(database, clock)
    await store(database, course(FIRST, "1"), course(SECOND, "1"))
    before = await known(enricher)
    assert set(before) == {FIRST, SECOND}

    await store(database, course(SECOND, "1", topic="Scopes"))
    assert (await known(enricher))[SECOND] is before[SECOND]  # not old enough
    for _ in range(3):  # however often it is read again
        clock.advance(COURSES_AGE_S)
        after = await known(enricher)
        assert after[FIRST] is before[FIRST]
        assert {stamp["topic"] for stamp in after[SECOND].lessons.values()} == {"Scopes"}


async def test_what_a_course_said_is_forgotten_when_nobody_asks(database: Database) -> None:
    clock = ManualClock()
    enricher = Enricher(database, clock)
    await store(database, course(FIRST, "1"))
    before = await known(enricher)
    clock.advance(2 * COURSES_AGE_S)
    after = await known(enricher)
    assert after[FIRST] is not before[FIRST]
    assert after == before


async def test_a_course_that_makes_no_sense_leaves_the_others_alone(database: Database) -> None:
    clock = ManualClock()
    enricher = Enricher(database, clock)
    await store(database, course(FIRST, "1"), {"_id": SECOND, "curriculum": "text"}, course(THIRD, "1"))
    assert set(await known(enricher)) == {FIRST, THIRD}

    await store(database, course(SECOND, "2"))
    await database.courses.delete_one({"_id": THIRD})
    clock.advance(UNKNOWN_AGE_S)
    assert (await known(enricher))[SECOND].plain == {"version": "2"}
    clock.advance(COURSES_AGE_S)
    assert set(await known(enricher)) == {FIRST, SECOND}


LIST_WRITE = ("update", "lesson_lists")
LISTED = b"".join(each.binary for each in LESSONS)


async def stored_lists(database: Database) -> dict[bytes, bytes]:
    return {each["_id"]: each["lessons"] for each in await database.lesson_lists.find({}).to_list(None)}


async def test_the_list_of_equal_courses_is_stored_once_and_the_stamp_names_it(database: Database) -> None:
    await store(database, course(FIRST, "1"), course(SECOND, "2"))
    stamps = await Enricher(database, ManualClock()).stamps(
        [candidate(1, 1, course_id=FIRST), candidate(2, 2, course_id=SECOND)]
    )
    assert {each.list_id for each in stamps.courses.values()} == {lesson_list_id(LISTED)}
    assert await stored_lists(database) == {lesson_list_id(LISTED): LISTED}


async def test_two_processes_that_learn_of_a_course_at_once_store_one_list(
    database: Database, mongodb: RunningMongo
) -> None:
    await store(database, course(FIRST, "1"))
    clients = [make_client(mongodb.uri) for _ in range(4)]
    try:
        enrichers = [Enricher(open_database(each, database.prefix), ManualClock()) for each in clients]
        found = await asyncio.gather(*map(known, enrichers))
    finally:
        await asyncio.gather(*map(close, clients))
    assert [set(each) for each in found] == [{FIRST}] * 4
    assert await stored_lists(database) == {lesson_list_id(LISTED): LISTED}


async def test_lists_are_written_with_the_reading_of_courses_and_heal_by_it(
    database: Database, mongodb: RunningMongo
) -> None:
    await store(database, course(FIRST, "1"), course(SECOND, "1"))
    clock = ManualClock()
    async with seen_by(mongodb.uri, database) as (watched, commands):
        enricher = Enricher(watched, clock)
        for _ in range(5):
            await known(enricher)
        assert commands.begun.count(LIST_WRITE) == 1
        before = await database.lesson_lists.find({}).to_list(None)
        for change in ({"$set": {"lessons": LISTED[::-1]}}, {"$set": {"lessons": "text"}}):
            await database.lesson_lists.update_one({}, change, bypass_document_validation=True)
            clock.advance(COURSES_AGE_S)
            await known(enricher)
            assert await database.lesson_lists.find({}).to_list(None) == before
        assert commands.begun.count(LIST_WRITE) == 3
        await database.lesson_lists.delete_many({})
        clock.advance(COURSES_AGE_S)
        await known(enricher)
        assert await stored_lists(database) == {lesson_list_id(LISTED): LISTED}
