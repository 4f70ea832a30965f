"""A worker is killed between rows and commit, and MongoDB has forgotten its session when the next one starts."""

from pathlib import Path

import pytest
from bson import Binary

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, options, records, running, send, with_kafka
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.storage.database import Client, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema

# The server forgets after 30 minutes of silence by default: here after one, and looks every second.
FORGETFUL = (
    "enableTestCommands=1",
    "localLogicalSessionTimeoutMinutes=1",
    "TransactionRecordMinimumLifetimeMinutes=1",
    "logicalSessionRefreshMillis=1000",
    "ttlMonitorSleepSecs=1",
)


@pytest.mark.long
async def test_rows_whose_session_the_server_forgot_are_found_by_looking(
    tmp_path: Path, kafka: str, topic: str
) -> None:
    published = [event(number % 5) for number in range(100)]
    mongod = await start_mongod(tmp_path, parameters=FORGETFUL)
    client = make_client(mongod.uri)
    try:
        database = open_database(client, "forgotten")
        await apply_schema(database)
        await send(kafka, topic, records(published))
        chosen = options(kafka, topic)
        async with running(database, chosen) as first:
            await first.until_processed(100)
        leases = await database.leases.find({"kind": "partition"}).to_list(None)
        ids = [Binary(lease["session"].bytes, 4) for lease in leases]
        assert await remembered(client, ids) >= 1
        await until(lambda: forgotten(client, ids), "the server has forgotten the sessions")
        # To a group of another name the commit is one that never arrived.
        again = with_kafka(chosen, group_id=f"again-{topic}")
        async with running(database, again) as second:
            await second.until_processed(100)
            assert second.outcome("redelivered") == 100
        await assert_exactly_once(database, published)
    finally:
        await close(client)
        mongod.stop()


async def remembered(client: Client, ids: list[Binary]) -> int:
    """How many of these sessions the server could still recognise a repeated write of."""
    return (
        await client.get_database("config")
        .get_collection("transactions")
        .count_documents({"_id.id": {"$in": ids}})
    )


async def forgotten(client: Client, ids: list[Binary]) -> bool:
    return await remembered(client, ids) == 0
