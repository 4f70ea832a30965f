"""A platform's database as it is before the worker: its own documents, and no schema of the worker's."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import RunningMongo
from tests.support.platform import Platform
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close


@pytest.fixture
def platform(mongodb: RunningMongo) -> Iterator[Platform]:
    prefix = f"platform_{uuid.uuid4().hex[:12]}"
    made = Platform(mongodb.uri, prefix)
    yield made
    for name in made.client.list_database_names():
        if name.startswith(prefix):
            made.client.drop_database(name)
    made.close()


@pytest.fixture
async def adopted(platform: Platform, mongodb: RunningMongo) -> AsyncIterator[Database]:
    """The same database as the worker sees it."""
    client = make_client(mongodb.uri)
    yield open_database(client, platform.db.name.removesuffix("_content"))
    await close(client)
