"""The fixtures every test of the house builds on."""

from worker.storage import schema
from worker.storage.database import Database


async def test_the_database_fixture_has_the_whole_schema(database: Database) -> None:
    assert await schema.check_schema(database) == []


async def test_the_database_fixture_is_empty(database: Database) -> None:
    assert await database.course_events.count_documents({}) == 0
