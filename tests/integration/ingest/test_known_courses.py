"""What ingest knows of courses: read again when it is old, decoded again only where something else stands there."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from tests.support.clocks import ManualClock
from tests.unit.ingest.samples import candidate
from worker.ingest.enrich.course import KnownCourse
from worker.ingest.enrich.stamps import COURSES_AGE_S, UNKNOWN_AGE_S, Enricher
from worker.storage.database import Database

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
