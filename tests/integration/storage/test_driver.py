"""The two drivers behave as one behind `worker.storage.driver`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import RunningMongo
from tests.integration.storage.conftest import new_client
from worker.storage import driver
from worker.storage.database import Database

NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["pymongo", "motor"])
def driver_kind(request: pytest.FixtureRequest) -> str:
    """Both, each time."""
    return str(request.param)


def _member(owner: str) -> dict[str, Any]:
    return {"_id": f"member:progress:{owner}", "kind": "member", "owner": owner, "expires_at": NOON}


async def test_an_aggregation_gives_a_list_of_all_documents(any_database: Database) -> None:
    await any_database.leases.insert_many([_member(f"w{number:03}") for number in range(250)])
    pipeline = [{"$sort": {"owner": 1}}, {"$project": {"_id": 0, "owner": 1}}]
    documents = await driver.aggregate(any_database.leases, pipeline, batchSize=50)
    assert [document["owner"] for document in documents] == [f"w{number:03}" for number in range(250)]


async def test_a_session_carries_operations_and_shows_its_inner_object(any_database: Database) -> None:
    session = await driver.start_session(any_database.client)
    await any_database.leases.insert_one(_member("a"), session=session)
    found = await any_database.leases.find_one({"owner": "a"}, session=session)
    assert found == _member("a")
    inner = driver.pymongo_session(session)
    assert inner._server_session.session_id == inner.session_id  # noqa: SLF001 - the contract fencing rests on
    await session.end_session()


async def test_collections_and_indexes_are_listed(any_database: Database) -> None:
    names = {collection["name"] for collection in await driver.list_collections(any_database.config)}
    assert {"leases", "projection_state", "tombstones"} <= names
    (one,) = await driver.list_collections(any_database.config, "leases")
    assert one["name"] == "leases"
    assert await driver.list_collections(any_database.config, "absent") == []
    indexes = {index["name"] for index in await driver.list_indexes(any_database.job_runs)}
    assert {"_id_", "idx_job_runs_job_started"} <= indexes


async def test_a_client_may_be_closed_twice(mongodb: RunningMongo, driver_kind: str) -> None:
    client = new_client(driver_kind, mongodb.uri)
    await client.admin.command("ping")
    await driver.close(client)
    await driver.close(client)
