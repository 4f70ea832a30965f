"""The fixtures every test of the house builds on."""

from collections.abc import Iterator

import pytest

from tests.conftest import RunningMongo
from tests.support.counts import add_course
from tests.support.databases import Databases
from worker.storage import schema
from worker.storage.database import Database


@pytest.fixture
def own(mongodb: RunningMongo) -> Iterator[Databases]:
    """Spare databases that no other test gets."""
    databases = Databases(mongodb.uri)
    yield databases
    databases.close(drop=True)


async def test_the_database_fixture_has_the_whole_schema(database: Database) -> None:
    assert await schema.check_schema(database) == []


async def test_the_database_fixture_is_empty(database: Database) -> None:
    assert await database.course_events.count_documents({}) == 0


async def test_a_database_is_emptied_for_the_next_test(database: Database, own: Databases) -> None:
    first = await own.take(database.client)
    await add_course(first, 1)
    own.give_back(first.prefix)
    second = await own.take(database.client)
    assert second.prefix == first.prefix
    assert await second.courses.count_documents({}) == 0
    own.give_back(second.prefix)


async def test_a_database_whose_schema_was_changed_is_dropped(database: Database, own: Databases) -> None:
    first = await own.take(database.client)
    await first.courses.drop_indexes()
    own.give_back(first.prefix)
    second = await own.take(database.client)
    assert second.prefix != first.prefix
    assert not [name for name in await database.client.list_database_names() if name.startswith(first.prefix)]
    own.give_back(second.prefix)
