"""Handles keep their options whatever client they came from, and an unfit server is refused by name."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId
from pymongo.read_preferences import ReadPreference

from tests.conftest import RunningMongo
from tests.integration.storage.conftest import new_client
from worker.devstack.servers.mongod import mongod_binary
from worker.devstack.servers.process import free_port, spawn, wait_for_port
from worker.errors import Misconfigured, Retryable
from worker.storage.database import (
    COLLECTIONS,
    Client,
    Database,
    assert_safe_server,
    make_client,
    open_database,
)
from worker.storage.driver import close
from worker.storage.errors import translated
from worker.storage.transactions import Transactions

STARTS_WITHIN_S = 60.0


@pytest.fixture
async def single_server(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a mongod that is no replica set."""
    port, data = free_port(), tmp_path / "data"
    data.mkdir()
    command = [str(mongod_binary()), "--port", str(port), "--dbpath", str(data), "--bind_ip", "127.0.0.1"]
    process = spawn("mongod", command, tmp_path / "mongod.log")
    client = make_client(f"mongodb://127.0.0.1:{port}/?directConnection=true")
    try:
        await wait_for_port(process, port, STARTS_WITHIN_S)
        yield client
    finally:
        await close(client)
        process.stop()


async def test_times_come_back_aware_and_ids_as_uuids(any_database: Database) -> None:
    token, noon = uuid.uuid4(), datetime(2024, 1, 10, 12, 0, 0, 5000, tzinfo=UTC)
    lease = {"_id": "partition:t:0", "kind": "partition", "session": token, "burns": 0, "updated_at": noon}
    await any_database.leases.insert_one(lease)
    assert await any_database.leases.find_one({"_id": "partition:t:0"}) == lease


async def test_every_handle_writes_and_reads_with_a_majority(bare_database: Database) -> None:
    for name in COLLECTIONS:
        handle = bare_database.collection(name)
        assert handle.name == name
        assert handle.write_concern.document == {"w": "majority", "j": True}, name
        assert handle.read_concern.document == {"level": "majority"}, name
        assert getattr(bare_database, name, handle) == handle


async def test_decisions_are_read_from_the_primary_whatever_the_uri_prefers(
    mongodb: RunningMongo, driver_kind: str
) -> None:
    client = new_client(driver_kind, f"{mongodb.uri}&readPreference=secondaryPreferred")
    database = open_database(client, prefix=f"test_{uuid.uuid4().hex[:12]}")
    transactions = Transactions(client)
    try:
        await assert_safe_server(database, test_server=True)
        for name in COLLECTIONS:
            assert database.collection(name).read_preference == ReadPreference.PRIMARY, name
        # The driver refuses a transaction that would read anywhere else.
        found = await transactions.run(lambda session: database.users.find_one({}, session=session))
        assert found is None
    finally:
        await transactions.close()
        await close(client)


async def test_collections_lie_in_the_databases_of_the_prefix(bare_database: Database) -> None:
    prefix = bare_database.prefix
    assert bare_database.courses.full_name == f"{prefix}_content.courses"
    assert bare_database.user_interactions.full_name == f"{prefix}_analytics.user_interactions"
    assert bare_database.leases.full_name == f"{prefix}_config.leases"


async def test_a_replica_set_passes_as_a_test_server(bare_database: Database) -> None:
    await assert_safe_server(bare_database, test_server=True)


async def test_test_commands_are_refused_outside_tests(bare_database: Database) -> None:
    with pytest.raises(Misconfigured, match="enableTestCommands"):
        await assert_safe_server(bare_database)


async def test_a_single_server_is_refused(single_server: Client) -> None:
    with pytest.raises(Misconfigured, match="--replSet"):
        await assert_safe_server(open_database(single_server), test_server=True)


async def test_an_operation_without_an_answer_ends_as_retryable(mongodb: RunningMongo) -> None:
    name = f"silent-{ObjectId()}"
    operator = make_client(mongodb.uri)
    client = make_client(mongodb.uri, application_name=name, socket_timeout_ms=500)
    silence = {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 3_000, "appName": name}
    fail_point = {"configureFailPoint": "failCommand"}
    await operator.admin.command({**fail_point, "mode": "alwaysOn", "data": silence})
    try:
        with pytest.raises(Retryable), translated():
            await open_database(client, prefix="test_silent").leases.find_one({})
    finally:
        await operator.admin.command({**fail_point, "mode": "off"})
        await close(client)
        await close(operator)


@pytest.mark.parametrize("uri", ["mongodb://host:99999999/", "http://host/", "mongodb://a:b:c@host/"])
def test_an_unusable_uri_is_named_as_such(uri: str) -> None:
    with pytest.raises(Misconfigured):
        make_client(uri)
