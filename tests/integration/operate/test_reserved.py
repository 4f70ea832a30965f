"""Reserved ids: stored and folded like any other, and counted, announced, billed and shown nowhere."""

from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import CATALOGUE
from projections.counts import count_learner
from projections.kinds import Catalogue
from tests.integration.watch.test_views import STANDING, events, of, views
from tests.support.counts import (
    NOW,
    Learner,
    add_course,
    add_user,
    count,
    course,
    store_all,
    user,
)
from tests.support.jobs import runner
from worker.contract.reserved import CANARY_COURSE, canary_learner
from worker.jobs.rebuild_counts import REBUILD_COUNTS, RebuildCounts
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema

SHOWN = (
    "user_progress_projections",
    "notifications",
    "billing_transactions",
    "analytics_queue",
    "courses",
    "users",
)


def reserved() -> list[Learner]:
    """Streams with one reserved id, and with two, that anybody else would be counted, told and billed for."""
    pairs = [(CANARY_COURSE, canary_learner(NOW)), (course(1), canary_learner(NOW)), (CANARY_COURSE, user(1))]
    return [Learner(*pair).enrol(pays=f"t-{number}").finish() for number, pair in enumerate(pairs)]


async def platform(database: Database) -> None:
    await add_course(database, 1)
    course_of_the_canary = {
        "title": "Canary",
        "instructor_id": ObjectId(),
        "status": "draft",
        "created_at": NOW,
    }
    await database.courses.insert_one({"_id": CANARY_COURSE, **course_of_the_canary})
    for each in (user(1), user(2), canary_learner(NOW)):
        await add_user(database, each)


async def everything(database: Database) -> dict[str, list[Any]]:
    return {name: await database.collection(name).find({}).sort("_id", 1).to_list(None) for name in SHOWN}


async def test_they_are_counted_announced_and_billed_nowhere(database: Database) -> None:
    await platform(database)
    others, ours = Learner(course(1), user(2)).enrol(pays="t-9").finish(), reserved()
    await store_all(database, [*ours, others])
    await count(database, [*ours, others])

    stored = await everything(database)
    streams = {each["stream_id"] for name in SHOWN[:2] for each in stored[name]}
    assert streams == {f"course_{course(1)}_user_{user(2)}"}
    # Rows follow from events of transactions, never from counting.
    assert stored["billing_transactions"] == []
    assert stored["analytics_queue"] == []
    shown = {each["_id"]: each for each in [*stored["courses"], *stored["users"]]}
    assert shown[course(1)]["stats"]["enrollments"]["total"] == 1
    for each in (CANARY_COURSE, canary_learner(NOW), user(1)):
        assert "stats" not in shown[each]
        assert "activity_log" not in shown[each]


async def test_whoever_counts_everything_again_finds_nothing_to_count_of_them(database: Database) -> None:
    await platform(database)
    others = Learner(course(1), user(2)).enrol().finish()
    await store_all(database, [*reserved(), others])
    await count(database, [others])
    await runner(database).run(REBUILD_COUNTS, RebuildCounts())
    before = await everything(database)

    assert [each["stream_id"] for each in before["user_progress_projections"]] == [
        others.record()["stream_id"]
    ]
    await count(database, reserved())
    assert await everything(database) == before


async def test_what_an_older_release_has_counted_of_them_is_taken_back_by_a_rebuild(
    database: Database,
) -> None:
    await platform(database)
    ours, others = reserved()[1], Learner(course(1), user(2)).enrol()
    await store_all(database, [ours, others])
    await count(database, [others])
    before = (await everything(database))["user_progress_projections"]
    step = count_learner(ours.record(), None)
    assert step is not None
    await database.user_progress_projections.insert_one(step.projection)
    await count(database, courses=[course(1)])
    wrong = await database.courses.find_one({"_id": course(1)}) or {}
    assert wrong["stats"]["enrollments"]["total"] == 2

    await count(database, [ours])  # live counting leaves it alone, and asks nobody to fold it again
    await runner(database).run(REBUILD_COUNTS, RebuildCounts())

    right = await database.courses.find_one({"_id": course(1)}) or {}
    assert right["stats"]["enrollments"]["total"] == 1
    assert (await everything(database))["user_progress_projections"] == before


@pytest.fixture
async def with_views(database: Database) -> Database:
    own = open_database(database.client, database.prefix, Catalogue((*CATALOGUE.projections, STANDING)))
    await apply_schema(own)
    return own


async def test_they_make_no_view_dirty_and_stand_in_none(with_views: Database) -> None:
    others = Learner(course(1), user(2)).enrol().meet("discussion_posted")
    await store_all(with_views, [*reserved(), others])
    engine = views(with_views)
    moved = frozenset(("user_progress", each.identity) for each in [*reserved(), others])
    await engine.bring(moved, {"_data": "before"})

    assert await events(with_views) == {course(1): 2}
    await engine.rebuild(of(CANARY_COURSE))
    assert await events(with_views) == {course(1): 2}
    named = {key for page in [page async for page in engine.missed()] for key in page}
    assert named == of(course(1))
