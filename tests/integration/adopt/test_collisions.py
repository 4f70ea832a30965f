"""Documents of the platform's own that are called alike, or nothing at all, when they become the worker's."""

from typing import Any

import pytest

from projections.account.projection import USER_CLAIMS
from projections.catalogue import COURSE_CLAIMS, catalogue_for
from tests.integration.adopt.test_courses import adopt, faults
from tests.integration.adopt.test_courses import theirs as their_course
from tests.integration.adopt.test_users import theirs
from tests.integration.watch.test_users import differences, user
from tests.support.counts import NOW, course
from worker.errors import SchemaMismatch
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, catalogue_for({"users", "courses"}))
    await apply_schema(opened)
    return opened


async def waiting(database: Database) -> dict[str, str]:
    items = await database.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
    return {each["_id"]: each["error_class"] for each in items}


def since(number: int, day: int, **fields: Any) -> dict[str, Any]:
    """A user of that day of the year."""
    return theirs(number, metadata={"created_at": NOW.replace(month=1, day=day)}, **fields)


async def test_of_two_that_differ_in_capitals_the_older_account_has_the_name(own: Database) -> None:
    """The index sees two values there; the worker sees one, which the younger account has in the spelling to be."""
    await own.users.insert_many(
        [
            since(1, 2, email="Doe@example.com", username="JANE"),
            since(2, 3, email="doe@example.com", username="jane"),
            since(3, 4, email="DOE@example.com", username="kim"),
        ]
    )
    result = await adopt(own)
    assert (result.run.counts["documents_adopted"], result.outcome["set_aside"]) == (3, {})
    found = {
        each["_id"]: (each.get("email"), each.get("username"))
        for each in await own.users.find({}).to_list(None)
    }
    assert found == {user(1): ("doe@example.com", "jane"), user(2): (None, None), user(3): (None, "kim")}
    assert await waiting(own) == {f"{USER_CLAIMS.name}:{user(each)}": "Taken" for each in (2, 3)}
    assert await differences(own) == []
    assert await faults(own) == {}
    assert (await adopt(own)).run.counts.get("documents_adopted", 0) == 0


@pytest.mark.slow
async def test_those_without_a_name_or_with_an_empty_one_are_adopted_and_in_nobody_s_way(
    own: Database,
) -> None:
    unnamed = since(2, 3)
    del unnamed["email"], unnamed["username"]
    await own.users.insert_many(
        [
            since(1, 2),
            unnamed,
            since(3, 4, email="", username=""),
            since(4, 5, email="", username=""),
        ]
    )
    unslugged = their_course(1)
    del unslugged["slug"]
    slugs = [unslugged, their_course(2)]
    await own.courses.insert_many(slugs)
    result = await adopt(own)
    assert (result.run.counts["documents_adopted"], result.outcome["set_aside"]) == (6, {})
    names = {
        each["_id"]: (each.get("email"), each.get("username"))
        for each in await own.users.find({}).to_list(None)
    }
    assert names == {
        user(1): ("jane1@example.com", "jane1"),
        **{user(each): (None, None) for each in (2, 3, 4)},
    }
    assert {each["_id"]: each.get("slug") for each in await own.courses.find({}).to_list(None)} == {
        course(1): None,
        course(2): "course-2",
    }
    assert await waiting(own) == {}
    assert await faults(own) == {}


async def test_documents_that_break_the_index_already_are_named_before_and_told_apart_by_adoption(
    own: Database,
) -> None:
    """Where the platform had no such index, `schema apply` says so, and makes it once they are adopted."""
    await own.courses.drop_index("idx_courses_slug_unique")
    slugs = [
        their_course(0, created_at=NOW.replace(day=3)),
        their_course(1, slug="course-0", created_at=NOW.replace(day=2)),
    ]
    await own.courses.insert_many(slugs)
    with pytest.raises(SchemaMismatch, match=r"unique index on .*slug"):
        await apply_schema(own)
    result = await adopt(own)
    assert result.run.counts["documents_adopted"] == 2
    assert {each["_id"]: each.get("slug") for each in await own.courses.find({}).to_list(None)} == {
        course(0): None,
        course(1): "course-0",
    }
    assert await waiting(own) == {f"{COURSE_CLAIMS.name}:{course(0)}": "Taken"}
    await apply_schema(own)
    assert await faults(own) == {}
