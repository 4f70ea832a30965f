"""What a real server says becomes the right class of the worker's errors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from tests.conftest import RunningMongo
from worker.errors import Fatal, HistoryLost, Misconfigured, Refused, Retryable
from worker.storage import driver
from worker.storage.database import Database, make_client, open_database
from worker.storage.errors import translated, write_failures

NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)


def _member(owner: Any) -> dict[str, Any]:
    return {"_id": f"member:{ObjectId()}", "kind": "member", "owner": owner, "expires_at": NOON}


@asynccontextmanager
async def _failing(database: Database, command: str, **failure: Any) -> AsyncIterator[Database]:
    """The same database through a client of its own, whose `command` fails every time."""
    name = f"failing-{ObjectId()}"
    hosts = await database.client.admin.command("hello")
    client = make_client(f"mongodb://{hosts['me']}/?replicaSet={hosts['setName']}", application_name=name)
    data = {"failCommands": [command], "appName": name, **failure}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        yield open_database(client, prefix=database.prefix)
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)


@pytest.mark.parametrize("code", [189, 10107, 112, 50, 14031])
async def test_a_passing_failure_of_a_write_is_retryable(any_database: Database, code: int) -> None:
    async with _failing(any_database, "update", errorCode=code) as database:
        with pytest.raises(Retryable), translated():
            await database.leases.update_one({"_id": "x"}, {"$set": {"burns": 1}})


async def test_a_lost_connection_is_retryable(any_database: Database) -> None:
    async with _failing(any_database, "find", closeConnection=True) as database:
        with pytest.raises(Retryable), translated():
            await database.leases.find_one({})


async def test_a_write_that_no_majority_acknowledged_is_retryable(any_database: Database) -> None:
    failure = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}
    async with _failing(any_database, "insert", writeConcernError=failure) as database:
        with pytest.raises(Retryable), translated():
            await database.leases.insert_one(_member("a"))
        with pytest.raises(Retryable), translated():
            await database.leases.insert_many([_member("a"), _member("b")], ordered=False)


async def test_an_invalid_document_is_refused(any_database: Database) -> None:
    with pytest.raises(Refused, match="validation") as caught, translated():
        await any_database.leases.insert_one(_member(["secret"]))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("owner", ["\ud800", 2**70, object()])
async def test_what_bson_cannot_hold_is_refused(any_database: Database, owner: object) -> None:
    with pytest.raises(Refused), translated():
        await any_database.leases.insert_one(_member(owner))


async def test_a_document_over_16_mb_is_refused(any_database: Database) -> None:
    with pytest.raises(Refused), translated():
        await any_database.leases.insert_one(_member("x" * 17_000_000))


async def test_a_document_nested_too_deep_is_refused(any_database: Database) -> None:
    nested: dict[str, Any] = {}
    for _ in range(250):
        nested = {"in": nested}
    with pytest.raises(Refused), translated():
        await any_database.users.insert_one({"profile": nested})


async def test_a_duplicate_key_passes_through(any_database: Database) -> None:
    member = _member("a")
    await any_database.leases.insert_one(member)
    with pytest.raises(DuplicateKeyError), translated():
        await any_database.leases.insert_one(member)


async def test_the_refused_writes_of_a_bulk_are_named_and_the_others_stored(any_database: Database) -> None:
    stored = _member("a")
    await any_database.leases.insert_one(stored)
    with pytest.raises(BulkWriteError) as caught, translated():
        await any_database.leases.insert_many([_member(7), _member("b"), stored], ordered=False)
    invalid, duplicate = write_failures(caught.value)
    assert (invalid.index, invalid.code, invalid.duplicate) == (0, 121, False)
    assert (duplicate.index, duplicate.duplicate, dict(duplicate.key_pattern)) == (2, True, {"_id": 1})
    assert await any_database.leases.count_documents({}) == 2


@pytest.mark.parametrize("token", [{"_data": "00"}, {"other": 1}])
async def test_a_token_that_means_nothing_is_lost_history(
    any_database: Database, token: dict[str, Any]
) -> None:
    with pytest.raises(HistoryLost), translated():
        await driver.aggregate(any_database.leases, [{"$changeStream": {"resumeAfter": token}}])


@pytest.mark.parametrize("code", [136, 260, 280, 286])
async def test_a_change_stream_the_server_cannot_resume_is_lost_history(
    any_database: Database, code: int
) -> None:
    async with _failing(any_database, "aggregate", errorCode=code) as database:
        with pytest.raises(HistoryLost), translated():
            await driver.aggregate(database.leases, [{"$changeStream": {}}])


async def test_wrong_credentials_are_a_misconfiguration(mongodb: RunningMongo) -> None:
    client = make_client(mongodb.uri.replace("mongodb://", "mongodb://nobody:wrong@"))
    try:
        with pytest.raises(Misconfigured), translated():
            await open_database(client).leases.find_one({})
    finally:
        await driver.close(client)


async def test_a_command_the_server_does_not_know_is_fatal(any_database: Database) -> None:
    with pytest.raises(Fatal, match="CommandNotFound"), translated():
        await any_database.config.command("noSuchCommand")


Operation = Callable[[Database], Awaitable[Any]]


@pytest.mark.parametrize(
    "operation",
    [
        lambda database: database.leases.find({}).to_list(None),
        lambda database: database.leases.count_documents({}),
        lambda database: driver.aggregate(database.leases, []),
        lambda database: driver.list_indexes(database.leases),
    ],
)
async def test_a_server_that_is_away_is_retryable(operation: Operation) -> None:
    client = make_client("mongodb://127.0.0.1:9/", server_selection_timeout_ms=10)
    try:
        with pytest.raises(Retryable), translated():
            await operation(open_database(client))
    finally:
        await driver.close(client)
