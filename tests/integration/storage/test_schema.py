"""Applying the schema makes everything and drops nothing; checking it says what differs."""

import asyncio
import copy
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import DuplicateKeyError, WriteError

from tests.conftest import RunningMongo
from worker.errors import SchemaMismatch
from worker.storage.database import COLLECTIONS, FORMER, Database
from worker.storage.documents import void_document
from worker.storage.driver import Document, list_collections, list_indexes
from worker.storage.indexes import INDEXES
from worker.storage.models import MODELS
from worker.storage.schema import Change, apply_schema, check_schema
from worker.storage.validators import validator

NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)

APPLY = """
import asyncio, sys
from worker.storage.database import make_client, open_database
from worker.storage.documents import void_document
from worker.storage.driver import close
from worker.storage.schema import apply_schema

async def main():
    client = make_client(sys.argv[1])
    await apply_schema(open_database(client, prefix=sys.argv[2]))
    await close(client)

asyncio.run(main())
"""


def _course(**fields: Any) -> Document:
    return {
        "title": "Databases",
        "instructor_id": ObjectId(),
        "status": "draft",
        "created_at": NOON,
        **fields,
    }


async def test_apply_makes_everything_and_a_second_time_nothing(bare_database: Database) -> None:
    changes = await apply_schema(bare_database)
    assert {change.collection for change in changes if change.what == "collection"} == set(
        COLLECTIONS
    ) - FORMER
    assert await check_schema(bare_database) == []
    assert await apply_schema(bare_database) == []


async def test_every_index_stands_under_its_name(any_database: Database) -> None:
    for index in INDEXES:
        listed = await list_indexes(any_database.collection(index.collection))
        assert index.name in [found["name"] for found in listed]


async def test_interactions_are_a_time_series_of_the_spec_s_options(any_database: Database) -> None:
    (listed,) = await list_collections(any_database.analytics, "user_interactions")
    assert listed["type"] == "timeseries"
    options = listed["options"]["timeseries"]
    assert (options["timeField"], options["metaField"], options["granularity"]) == (
        "timestamp",
        "metadata",
        "minutes",
    )


async def test_interactions_are_not_compressed_with_zstd(any_database: Database) -> None:
    statistics = await any_database.analytics.command("collStats", "user_interactions")

    assert "block_compressor=snappy" in statistics["wiredTiger"]["creationString"]


async def test_an_empty_server_lacks_every_collection(bare_database: Database) -> None:
    found = await check_schema(bare_database)
    assert [difference.collection for difference in found] == [
        name for name in COLLECTIONS if name not in FORMER
    ]
    assert {difference.what for difference in found} == {"collection"}


@pytest.mark.slow
async def test_processes_that_apply_at_once_all_succeed(
    bare_database: Database, mongodb: RunningMongo
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", APPLY, mongodb.uri, bare_database.prefix)
        for _ in range(2)
    ]
    assert [await process.wait() for process in processes] == [0, 0]
    assert await check_schema(bare_database) == []


@pytest.mark.slow
async def test_tasks_that_apply_at_once_all_succeed_over_an_older_schema(any_database: Database) -> None:
    await any_database.content.command({"collMod": "course_events", "validator": {}})
    await any_database.users.drop_index("idx_users_login")
    await asyncio.gather(*(apply_schema(any_database) for _ in range(5)))
    assert await check_schema(any_database) == []


async def test_a_missing_index_is_reported_and_made_again(any_database: Database) -> None:
    await any_database.users.drop_index("idx_users_text_search")
    (difference,) = await check_schema(any_database)
    assert (difference.collection, difference.what, difference.found) == (
        "users",
        "index idx_users_text_search",
        "absent",
    )
    (change,) = await apply_schema(any_database)
    assert (change.what, change.done) == ("index idx_users_text_search", "created")


@pytest.mark.parametrize(
    "modification",
    [{"validator": {}}, {"validationLevel": "moderate"}, {"validationAction": "warn"}],
)
async def test_a_validator_that_no_longer_refuses_is_reported_and_set_again(
    any_database: Database, modification: Mapping[str, Any]
) -> None:
    await any_database.analytics.command({"collMod": "dead_letters", **modification})
    (difference,) = await check_schema(any_database)
    assert (difference.collection, difference.what) == ("dead_letters", "validator")
    (change,) = await apply_schema(any_database)
    assert (change.collection, change.what) == ("dead_letters", "validator")


async def test_an_index_of_another_meaning_is_reported_and_left_to_the_operator(
    any_database: Database,
) -> None:
    await any_database.users.drop_index("idx_users_email_unique")
    await any_database.users.create_index([("email", 1)], name="idx_users_email_unique")
    (difference,) = await check_schema(any_database)
    assert difference.what == "index idx_users_email_unique"
    assert "unique" in difference.expected
    assert "unique" not in difference.found
    with pytest.raises(SchemaMismatch, match="users, index idx_users_email_unique"):
        await apply_schema(any_database)


async def test_an_index_under_another_name_stands_in_the_way(any_database: Database) -> None:
    await any_database.courses.drop_index("idx_courses_tags")
    await any_database.courses.create_index([("metadata.tags", 1)], name="tags")
    with pytest.raises(SchemaMismatch, match="courses: an index is in the way"):
        await apply_schema(any_database)


async def test_documents_that_break_a_unique_index_stop_its_creation(any_database: Database) -> None:
    await any_database.courses.drop_index("idx_courses_slug_unique")
    await any_database.courses.insert_many([_course(slug="same"), _course(slug="same")])
    with pytest.raises(SchemaMismatch, match="courses: stored documents break the unique index"):
        await apply_schema(any_database)


async def test_a_plain_collection_in_place_of_the_time_series_is_reported(bare_database: Database) -> None:
    await bare_database.user_interactions.insert_one({"timestamp": NOON})
    with pytest.raises(SchemaMismatch, match="user_interactions, time series"):
        await apply_schema(bare_database)
    (difference,) = await check_schema(bare_database)
    assert difference.found == "a plain collection"


async def test_leases_may_be_external_as_every_collection_may(bare_database: Database) -> None:
    await apply_schema(bare_database)
    external = frozenset({"leases"})
    assert await apply_schema(bare_database, external=external) == []
    assert await check_schema(bare_database, external=external) == []


async def test_external_collections_are_neither_made_nor_looked_at(bare_database: Database) -> None:
    external = frozenset({"courses", "users", "promotions", "cache"})
    await apply_schema(bare_database, external=external)
    present = {collection["name"] for collection in await list_collections(bare_database.content)}
    assert not present & external
    assert await check_schema(bare_database, external=external) == []
    assert [difference.collection for difference in await check_schema(bare_database)] == [
        "courses",
        "users",
        "promotions",
        "cache",
    ]


async def test_further_indexes_and_documents_are_left_alone(any_database: Database) -> None:
    await any_database.courses.create_index([("language", 1)], name="somebody_elses")
    await any_database.courses.insert_one(_course())
    assert await apply_schema(any_database) == []
    assert await any_database.courses.count_documents({}) == 1
    assert "somebody_elses" in [index["name"] for index in await list_indexes(any_database.courses)]


async def test_two_users_without_an_email_are_welcome_and_two_with_one_are_not(
    any_database: Database,
) -> None:
    await any_database.users.insert_many([{}, {}, {"email": "a@example.com", "username": "a"}])
    with pytest.raises(DuplicateKeyError):
        await any_database.users.insert_one({"email": "a@example.com", "username": "b"})
    with pytest.raises(DuplicateKeyError):
        await any_database.users.insert_one({"email": "b@example.com", "username": "a"})


async def test_a_course_is_looked_up_by_slug_through_its_unique_index(any_database: Database) -> None:
    await any_database.courses.insert_one(_course(slug="databases"))
    plan = await any_database.courses.find({"slug": "databases"}).explain()
    assert plan["queryPlanner"]["winningPlan"]["inputStage"]["indexName"] == "idx_courses_slug_unique"


async def test_a_version_of_a_stream_exists_once(any_database: Database) -> None:
    stream = f"course_{ObjectId()}_user_{ObjectId()}"
    first, second = void_document(stream, 1, NOON), void_document(stream, 2, NOON)
    await any_database.course_events.insert_one(first)
    with pytest.raises(DuplicateKeyError):
        await any_database.course_events.insert_one({**second, "version": 1})


async def test_the_store_of_the_version_before_takes_events_of_all_families_after_apply(
    any_database: Database,
) -> None:
    """Workers of both versions then write side by side: the new validator only allows more."""
    before = copy.deepcopy(validator(MODELS["course_events"]))
    schema = before["$jsonSchema"]["properties"]
    del schema["metadata"]["properties"]["origin"]
    del before["$jsonSchema"]["properties"]["time_zone"]
    del schema["curriculum"]["anyOf"][0]["properties"]["topic"]
    del schema["event_data"]["properties"]["content_id"]
    schema["event_data"]["required"] = ["course_id", "user_id"]
    await any_database.content.command({"collMod": "course_events", "validator": before})
    learner, course = f"course_{ObjectId()}_user_{ObjectId()}", f"course_{ObjectId()}"
    await any_database.course_events.insert_one(void_document(learner, 1, NOON))
    with pytest.raises(WriteError):
        await any_database.course_events.insert_one(void_document(course, 1, NOON))
    assert await apply_schema(any_database) == [Change("course_events", "validator", "set")]
    await any_database.course_events.insert_many(
        [
            void_document(learner, 2, NOON),  # as the version before writes it
            void_document(course, 1, NOON),
            void_document(f"user_{ObjectId()}", 1, NOON),
            {**void_document(f"content_{ObjectId()}", 1, NOON), "time_zone": "Asia/Tokyo"},
        ]
    )
    assert await apply_schema(any_database) == []
