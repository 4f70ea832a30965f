"""Prices that do not fit their course's type, on a real server: not shown, listed, counted, and shown again."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from projections.catalogue import catalogue_for
from projections.content.courses.projection import COURSES
from projections.content.versions.projection import COURSE_VERSIONS
from tests.oracle.case import Case
from tests.oracle.courses import course_documents
from tests.oracle.stored import Stored
from tests.oracle.versions import version_documents
from tests.support.courses import COURSE, CREATED, STREAM, event_of, sent, version
from tests.support.progress import fold_dependencies, follow, running
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.verify.findings import Verification
from worker.verify.run import verify
from worker.watch.folds.rebuild import DocumentRebuild

REASON = "price_unlike_type"
PRICE = {"amount": "9.00", "currency": "EUR"}
SHOWN = {"amount": 9.0, "currency": "EUR"}
STORY = [
    sent("course_created", 0, **CREATED, pricing={"type": "paid", "price": PRICE}),
    sent("course_priced", 1, pricing={"payment_plans": [{"type": "one_time", "price": "0"}]}),
    sent("course_priced", 2, pricing={"type": "free"}),
    sent("course_version_created", 3, **version("1.0")),
]


@pytest.fixture
async def own(database: Database) -> Database:
    """The database of a worker that owns courses."""
    opened = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    await apply_schema(opened)
    return opened


async def arrive(database: Database, events: Sequence[Document], after: int = 0) -> None:
    """Store events of the course in the order in which they came."""
    documents = [event_of(fields, number) for number, fields in enumerate(events, start=after + 1)]
    await database.course_events.insert_many(documents)


async def the_course(database: Database) -> Document:
    found = await database.courses.find_one({"_id": COURSE})
    assert found is not None
    return found


async def snapshots(database: Database) -> dict[str, Any]:
    found = await database.collection("course_versions").find({}).to_list(None)
    return {each["version"]: each["course_snapshot"]["pricing"] for each in found}


async def oracle(database: Database) -> list[str]:
    async def all_of(name: str) -> list[Document]:
        found: list[Document] = await database.collection(name).find({}).to_list(None)
        return found

    stored = Stored(
        events=await all_of("course_events"),
        courses=await all_of("courses"),
        version_histories=await all_of("version_history"),
        course_versions=await all_of("course_versions"),
    )
    case = Case(stored, owned=frozenset({"courses"}))
    return [*course_documents(case), *version_documents(case)]


def wrong(found: Verification) -> list[str]:
    """What `verify` finds of courses and their versions; nobody here decides slugs or counts instructors."""
    return [each.name for each in found.findings if each.name.startswith(("courses", "course_versions"))]


async def test_a_price_that_does_not_fit_is_listed_and_counted_until_the_type_is_said_anew(
    own: Database,
) -> None:
    async with running(own, projection=COURSES) as worker:

        def counted() -> float:
            return worker.value("projection_events_without_effect_total", projection="courses", reason=REASON)

        await arrive(own, STORY)
        await worker.until(lambda: _is_at(own, len(STORY)), "the course is folded")
        assert counted() == 2
        course = await the_course(own)
        assert (course["pricing"], course["status"], course["title"]) == (
            {"type": "free"},
            "draft",
            "Full Stack",
        )
        told = course["without_effect"]
        assert (told["total"], told["reasons"]) == (2, {REASON: 2})
        assert [each["event_type"] for each in told["latest"]] == ["course_created", "course_priced"]

        await follow(own, COURSE_VERSIONS)
        assert await snapshots(own) == {"1.0": {"type": "free"}}
        found = await verify(own, quiescent=True)
        assert wrong(found) == []
        assert (found.of("courses").without_effect, found.of("courses").reasons) == (2, {REASON: 2})
        assert found.of("course_versions").without_effect == 0
        assert await oracle(own) == []

        # The type is said anew, and the plans: what was kept aside is shown again.
        await arrive(own, [sent("course_priced", 4, pricing={"type": "paid"})], after=4)
        await worker.until(lambda: _is_at(own, 5), "the type is folded")
        course = await the_course(own)
        assert course["pricing"] == {"type": "paid", "price": SHOWN}
        assert course["without_effect"]["reasons"] == {REASON: 1}
        await arrive(own, [sent("course_priced", 5, pricing={"payment_plans": None})], after=5)
        await worker.until(lambda: _is_at(own, 6), "the plans are folded")
        assert counted() == 2, "none is counted twice"
    course = await the_course(own)
    assert (course["pricing"], course["without_effect"]) == ({"type": "paid", "price": SHOWN}, None)
    assert "aside" not in course["state"]
    await follow(own, COURSE_VERSIONS)
    assert await oracle(own) == []


@pytest.mark.parametrize("order", list(permutations(range(len(STORY))))[::5])
async def test_in_any_order_of_arrival_the_course_its_version_verify_and_a_rebuild_are_the_same(
    own: Database, order: Sequence[int]
) -> None:
    for place, number in enumerate(order):
        await arrive(own, [STORY[number]], after=place)
        await follow(own, COURSES)
        await follow(own, COURSE_VERSIONS)
    course = await the_course(own)
    assert (course["pricing"], course["without_effect"]["total"]) == ({"type": "free"}, 2)
    assert await snapshots(own) == {"1.0": {"type": "free"}}
    assert wrong(await verify(own, quiescent=True)) == []
    assert await oracle(own) == []
    done = await DocumentRebuild(fold_dependencies(own, COURSES))([STREAM])
    assert done.counts().get("changed", 0) == 0
    assert await the_course(own) == course


async def test_verify_and_the_oracle_find_a_price_that_is_shown_all_the_same(own: Database) -> None:
    await arrive(own, STORY)
    await follow(own, COURSES)
    await follow(own, COURSE_VERSIONS)
    await own.courses.update_one({"_id": COURSE}, {"$set": {"pricing.price": SHOWN}})
    assert wrong(await verify(own, quiescent=True)) == ["courses_different"]
    assert await oracle(own) == [f"course {COURSE} shows pricing.price, which is nowhere said"]
    await DocumentRebuild(fold_dependencies(own, COURSES))([STREAM])
    assert (await the_course(own))["pricing"] == {"type": "free"}
    assert await oracle(own) == []


async def _is_at(database: Database, number: int) -> bool:
    return await database.courses.count_documents({"_id": COURSE, "version": number}) == 1
