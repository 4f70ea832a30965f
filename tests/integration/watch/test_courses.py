"""Courses that are the worker's: fold and sums on one document, checked, mended, and whose they are."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import catalogue_for
from projections.content.courses.projection import COURSES
from tests.oracle.case import Case
from tests.oracle.courses import course_documents
from tests.oracle.stored import Stored
from tests.support.counts import Learner, counting, course, dependencies, dirty_keys, user
from tests.support.courses import CREATED, event_data, event_of
from tests.support.progress import fold_dependencies, projector
from worker.queries.explain import explain
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.verify.run import Checks
from worker.watch.folds.rebuild import DocumentRebuild
from worker.watch.roles import contenders

COURSE = course(0)
STREAM = f"course_{COURSE}"


@pytest.fixture
async def own(database: Database) -> Database:
    """The database of a worker that owns courses."""
    opened = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    await apply_schema(opened)
    return opened


async def happen(database: Database, event_type: str, at: float, number: int = 0, **details: Any) -> None:
    """Store the next event of the course of this number, and fold it."""
    stream = f"course_{course(number)}"
    version = await database.course_events.count_documents({"stream_id": stream}) + 1
    sent = event_data(event_type, at, int(at * 1000) + number + 1, course=course(number), **details)
    await database.course_events.insert_one(event_of(sent, version))
    await projector(database, projection=COURSES).project({stream: version})


async def the_course(database: Database) -> Document | None:
    found: Document | None = await database.courses.find_one({"_id": COURSE})
    return found


async def check(database: Database) -> list[tuple[str, str]]:
    """What `verify` finds of courses and their statistics in a system at rest."""
    checks = await Checks.opened(database, quiescent=True)
    await checks.streams.streams([STREAM])
    for phase in checks.further():
        if phase.name in ("documents", "counts"):
            await phase.check()
    kinds = {"courses", "statistics", "document", "event"}
    return [(str(each.kind), str(each.fault)) for each in checks.run.tally.findings if each.kind in kinds]


async def oracle(database: Database) -> list[str]:
    events = await database.course_events.find({"stream_id": STREAM}).to_list(None)
    courses = await database.courses.find({}).to_list(None)
    return list(course_documents(Case(Stored(events=events, courses=courses), owned=frozenset({"courses"}))))


async def test_statistics_that_come_before_the_course_are_shown_in_it_and_neither_writer_harms_the_other(
    own: Database,
) -> None:
    learners = [await Learner(COURSE, user(n)).enrol().store(own) for n in range(3)]
    async with counting(own) as keeping:
        await keeping.count(dirty_keys(each.identity for each in learners))
        assert await the_course(own) is None, "no stub"
        await happen(own, "course_created", 0, **CREATED)
        await keeping.count(dirty_keys(courses=[COURSE]))  # what the change stream tells: it was inserted
        shown = await the_course(own)
        assert shown is not None
        assert shown["stats"]["enrollments"]["total"] == 3

        async def describe() -> None:
            for at in range(1, 20):
                await happen(own, "course_described", at, subtitle=f"{at}", instructor={"bio": f"{at}"})

        async def enrol() -> None:
            for number in range(3, 15):
                learner = await Learner(COURSE, user(number)).enrol().store(own)
                await keeping.count(dirty_keys([learner.identity]))

        await own.courses.update_one({"_id": COURSE}, {"$set": {"instructor.portrait": "theirs"}})
        await asyncio.gather(describe(), enrol())
    shown = await the_course(own)
    assert shown is not None
    assert shown["stats"]["enrollments"]["total"] == 15
    assert (shown["subtitle"], shown["instructor"]["bio"]) == ("19", "19")
    assert shown["instructor"]["portrait"] == "theirs"
    assert await oracle(own) == []
    # The instructor's social proof follows in a transaction of its own, which nobody here drives.
    assert [each for each in await check(own) if each[0] != "statistics"] == []


@pytest.mark.parametrize("damage", ["altered", "instructor", "missing"])
async def test_verify_and_the_oracle_find_a_damaged_course_and_a_rebuild_mends_it(
    own: Database, damage: str
) -> None:
    await happen(own, "course_created", 0, **CREATED)
    await happen(own, "course_submitted", 1)
    await happen(own, "course_described", 2, instructor={"bio": "b"})
    await own.courses.update_one({"_id": COURSE}, {"$set": {"stats.views": 9, "shelf": 4}})
    right = await the_course(own)
    assert right is not None
    assert await check(own) == []
    if damage == "missing":
        await own.courses.delete_one({"_id": COURSE})
    else:
        wrong = {"publication.status": "archived"} if damage == "altered" else {"instructor.bio": "x"}
        await own.courses.update_one({"_id": COURSE}, {"$set": wrong})

    assert await check(own) == [("courses", "missing" if damage == "missing" else "different")]
    assert await oracle(own) != []
    done = await DocumentRebuild(fold_dependencies(own, COURSES))([STREAM])
    assert done.counts()["changed"] == 1
    mended = await the_course(own)
    assert mended is not None
    assert await check(own) == []
    assert await oracle(own) == []
    if damage != "missing":
        assert {**mended, "rev": 0} == {**right, "rev": 0}


async def test_courses_of_an_external_owner_are_left_alone(database: Database) -> None:
    assert "courses" not in {each.name for each in database.catalogue.streams}
    [event] = [event_of(event_data("course_created", 0, course=COURSE, **CREATED))]
    await database.course_events.insert_one(event)
    checks = await Checks.opened(database, quiescent=True)
    await checks.streams.streams([STREAM])
    assert list(checks.run.tally.findings) == []
    assert await database.courses.count_documents({}) == 0


async def test_a_document_of_the_platform_is_not_written_over_by_a_change_of_a_part(own: Database) -> None:
    theirs = {
        "title": "Theirs",
        "instructor_id": ObjectId(),
        "status": "draft",
        "created_at": event_of(event_data("course_submitted", 0, course=COURSE))["occurred_at"],
    }
    await own.courses.insert_one({"_id": COURSE, **theirs})
    await happen(own, "course_described", 1, title="Ours")
    found = await the_course(own)
    assert found is not None
    assert found["title"] == "Theirs"
    assert await own.analytics_queue.count_documents({"_id": f"courses:{STREAM}", "status": "pending"}) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_courses_the_earlier_claim_has_the_slug_and_the_other_gets_it_when_it_is_free(
    own: Database, order: tuple[int, int]
) -> None:
    async def slugs() -> list[str | None]:
        given = dependencies(own)
        contest = next(each for each in contenders(given) if each.name == "course_claims")
        async for keys in contest.missed():
            await contest.decide(keys)
        await given.transactions.close()
        return [(await own.courses.find_one({"_id": course(n)}) or {}).get("slug") for n in (0, 1)]

    for number in order:  # course 0 claims it first, whichever comes first
        await happen(own, "course_created", 10 + number, number, **CREATED)
    assert await slugs() == ["full-stack", None]
    [item] = await own.analytics_queue.find({"_id": f"course_claims:{course(1)}"}).to_list(None)
    assert (item["error_class"], item["status"]) == ("Taken", "pending")
    await happen(own, "course_described", 30, 0, slug="renamed")
    assert await slugs() == ["renamed", "full-stack"]
    [item] = await own.analytics_queue.find({"_id": f"course_claims:{course(1)}"}).to_list(None)
    assert item["status"] == "completed"
    # A course that is deleted has no slug; restored, it comes behind whoever has claimed its slug meanwhile.
    await happen(own, "course_described", 40, 0, slug="full-stack")
    await happen(own, "course_deleted", 50, 1)
    assert await slugs() == ["full-stack", None]
    await happen(own, "course_restored", 60, 1)
    assert await slugs() == ["full-stack", None]
    await happen(own, "course_archived", 70, 0)
    assert await slugs() == ["full-stack", None]
    await happen(own, "course_deleted", 80, 0)
    assert await slugs() == [None, "full-stack"]


async def test_explain_names_the_events_that_made_a_course_what_it_is(own: Database) -> None:
    await happen(own, "course_priced", 0, pricing={"type": "free"})
    [standing, _of_versions] = (await explain(own, STREAM)).documents
    assert (standing.agrees, standing.detail) == (True, "there is none: no event has begun it yet")

    await happen(own, "course_created", 1, **CREATED)
    await happen(own, "course_submitted", 2)
    await own.courses.update_one(
        {"_id": COURSE}, {"$set": {"instructor.social_proof": {"students_taught": 1}}}
    )
    told = await explain(own, STREAM, "status")
    changes = [(each.event_type, each.value, each.rule.name) for each in told.changes]
    assert changes == [("course_created", "draft", "take"), ("course_submitted", "review", "take")]
    [standing, _of_versions] = (await explain(own, STREAM)).documents
    assert (standing.agrees, standing.detail) == (True, "at version 3 as its events say")
