"""A client for the roles alone, so that failures can be injected into their commands and no others."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import RunningMongo
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close


@pytest.fixture
async def watched(database: Database, mongodb: RunningMongo) -> AsyncIterator[Database]:
    """The same database through a client of its own, which the server knows by the database's prefix."""
    client = make_client(mongodb.uri, application_name=database.prefix)
    yield open_database(client, prefix=database.prefix)
    await close(client)
