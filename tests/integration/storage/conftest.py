"""The storage tests run twice: on PyMongo Async, and on a Motor client that somebody else made and handed in.

All that differs lies in `storage/driver.py` and in the sessions: `make test` runs their tests on both, and the others
on PyMongo alone.
"""

import uuid
from collections.abc import AsyncIterator
from typing import cast

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from tests.conftest import RunningMongo
from tests.support.databases import Databases
from tests.support.matrices import one_of_each
from worker.storage.database import Client, Database, make_client, open_database
from worker.storage.driver import close


def new_client(kind: str, uri: str) -> Client:
    """A client of either driver. Motor's is as plain as a host application's: no option of ours."""
    return cast(Client, AsyncIOMotorClient(uri)) if kind == "motor" else make_client(uri)


@pytest.fixture(params=one_of_each(["pymongo", "motor"]))
def driver_kind(request: pytest.FixtureRequest) -> str:
    """Which driver the test's client is of."""
    return str(request.param)


@pytest.fixture
async def bare_database(mongodb: RunningMongo, driver_kind: str) -> AsyncIterator[Database]:
    """Handles on databases of a fresh prefix in which nothing exists yet; dropped afterwards."""
    client = new_client(driver_kind, mongodb.uri)
    database = open_database(client, prefix=f"test_{uuid.uuid4().hex[:12]}")
    try:
        yield database
        for home in (database.content, database.analytics, database.config):
            await client.drop_database(home.name)
    finally:
        await close(client)


@pytest.fixture
async def any_database(
    mongodb: RunningMongo, databases: Databases, driver_kind: str
) -> AsyncIterator[Database]:
    """A database of either driver with the schema applied."""
    client = new_client(driver_kind, mongodb.uri)
    try:
        database = await databases.take(client)
        yield database
        databases.give_back(database.prefix)
    finally:
        await close(client)
