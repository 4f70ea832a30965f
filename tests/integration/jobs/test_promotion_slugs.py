"""Courses that are built beside the live ones claim slugs, too: who has one is decided among the live ones alone."""

import pytest

from projections.catalogue import COURSE_CLAIMS
from projections.content.courses.projection import COURSES
from tests.integration.watch.test_courses import happen, own
from tests.support.contests import contest_findings, decide, kept_fields, waiting
from tests.support.counts import course
from tests.support.courses import CREATED
from tests.support.followers import working
from tests.support.jobs import runner
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.storage.database import Database

__all__ = ["own"]

INTO = RebuildInto(into="trial", projection=COURSES.name, fold="tests.support.renaming_fold:RENAMING_COURSES")
LIVE: dict[int, str | None] = {1: None, 2: "jane", 3: None, 4: "john", 5: "kim", 6: None, 7: None}
"""By number what courses are called."""
SWAPPED = {**LIVE, 2: "john", 4: "jane"}


async def stored(database: Database) -> None:
    """Four that want to be Jane, one of which is John by now, one is deleted, and one says it once more later.

    They come in an order of their own: none has the name because it came first.
    """
    created = {
        3: (20, "jane"),
        1: (30, "jane"),
        5: (6, "kim"),
        6: (1, "jane"),
        4: (5, "john"),
        2: (10, "jane"),
    }
    for number, (at, slug) in created.items():
        await happen(database, "course_created", at, number, **{**CREATED, "slug": slug})
    await happen(database, "course_described", 50, 3, slug="john")
    await happen(database, "course_deleted", 40, 6)
    await happen(database, "course_created", 60, 7, **{**CREATED, "slug": "jane"})
    await happen(database, "course_described", 70, 2, slug="jane", subtitle="once more")


async def slugs(database: Database) -> dict[int, str | None]:
    numbers = {course(number): number for number in LIVE}
    found = await database.courses.find({}).to_list(None)
    return {numbers[each["_id"]]: each.get("slug") for each in found}


def losing(*numbers: int) -> dict[str, str]:
    return {f"course_claims:{course(number)}": "Taken" for number in numbers}


async def test_what_is_built_beside_holds_no_slug_and_promotion_and_rollback_have_slugs_decided_anew(
    own: Database,
) -> None:
    await stored(own)
    await decide(own, COURSE_CLAIMS)
    await own.courses.update_many(
        {}, {"$set": {"stats.views": 9, "instructor.portrait": "theirs", "shelf": 4}}
    )
    before, waited = await kept_fields(own.courses), await waiting(own)
    assert await slugs(own) == LIVE
    assert waited == losing(1, 3, 7)

    built = (await runner(own).run(REBUILD_INTO, INTO)).outcome

    assert (built["differing"], built["paths"]) == (5, {"claims": 5})
    assert await kept_fields(own.courses) == before
    shadow = own.home(COURSES.target.collection).get_collection(built["collection"])
    assert await shadow.count_documents({}) == len(LIVE)
    assert await shadow.count_documents({"slug": {"$exists": True}}) == 0

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    assert promotion.run.counts == {"promoted": 5, "moved": 0, "refused": 0}
    await decide(own, COURSE_CLAIMS)
    assert await slugs(own) == SWAPPED
    assert await waiting(own) == losing(1, 3, 7)
    assert await contest_findings(own, COURSE_CLAIMS) == []
    promoted = await kept_fields(own.courses)
    apart = ("claims", "slug")
    for identity, document in promoted.items():
        kept = {name: value for name, value in document.items() if name not in apart}
        assert kept == {name: value for name, value in before[identity].items() if name not in apart}

    undone = await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own, COURSE_CLAIMS)
    assert not ROLLBACK.differs(undone.outcome)
    assert await kept_fields(own.courses) == before
    assert await waiting(own) == waited
    assert await contest_findings(own, COURSE_CLAIMS) == []


async def test_a_course_that_was_lost_comes_back_by_a_promotion_and_gets_its_slug(own: Database) -> None:
    """Somebody else has it meanwhile; taken away once more by a rollback, it is theirs again."""
    await stored(own)
    await decide(own, COURSE_CLAIMS)
    before = await kept_fields(own.courses)
    await own.courses.delete_one({"_id": course(2)})
    await decide(own, COURSE_CLAIMS)
    assert (await slugs(own))[1] == "jane"
    right = RebuildInto(into="trial", projection=COURSES.name)
    assert (await runner(own).run(REBUILD_INTO, right)).run.counts["missing"] == 1

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    assert promotion.run.counts["promoted"] == 1
    await decide(own, COURSE_CLAIMS)
    assert await kept_fields(own.courses) == before
    assert await contest_findings(own, COURSE_CLAIMS) == []

    await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own, COURSE_CLAIMS)
    found = await slugs(own)
    assert found == {number: slug for number, slug in {**LIVE, 1: "jane"}.items() if number != 2}
    assert await contest_findings(own, COURSE_CLAIMS) == []


async def test_a_course_of_the_platforms_own_is_not_promoted_over_before_it_is_adopted(own: Database) -> None:
    """It is named as one that was not built, and its slug stays its own."""
    await stored(own)
    await own.courses.update_one({"_id": course(2)}, {"$unset": {"stream_id": 1, "claims": 1}})
    await decide(own, COURSE_CLAIMS)
    before = await kept_fields(own.courses)
    built = await runner(own).run(REBUILD_INTO, INTO)
    assert built.run.counts["failed"] == 1
    await runner(own).run(PROMOTE, Promote(into="trial"))
    await decide(own, COURSE_CLAIMS)
    assert (await kept_fields(own.courses))[course(2)] == before[course(2)]
    assert await contest_findings(own, COURSE_CLAIMS) == []


@pytest.mark.slow
async def test_beside_a_worker_slugs_follow_what_is_promoted(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(own)
    async with working(own, monkeypatch, courses_owner="worker") as worker:

        async def called(wanted: dict[int, str | None]) -> bool:
            return await slugs(own) == wanted

        await worker.until(lambda: called(LIVE), "the slugs are given")
        await runner(own).run(REBUILD_INTO, INTO)
        promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
        await worker.until(lambda: called(SWAPPED), "they follow what was promoted")
        await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
        await worker.until(lambda: called(LIVE), "and what was put back")
    assert await contest_findings(own, COURSE_CLAIMS) == []
