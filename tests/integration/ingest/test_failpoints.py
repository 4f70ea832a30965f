"""Ingest through MongoDB's own failpoints: errors that pass, inserts done in part, a zombie whose insert hangs."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from structlog.testing import capture_logs

from tests.conftest import TEST_PARAMETERS
from tests.integration.ingest.ledger import assert_exactly_once, stored_before
from tests.integration.storage.fences import Failpoint, failpoint, operations
from tests.support.ingest import RunningIngest, Sent, event, options, records, running, send
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.errors import Refused
from worker.storage import driver
from worker.storage.database import Database, make_client, open_database
from worker.storage.documents import interaction_row
from worker.storage.fenced import BURN_NUMBER
from worker.storage.partition_lease import take_partition
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

NOT_PRIMARY, SHUTTING_DOWN, STEPPED_DOWN, NO_SUCH_TRANSACTION = 10107, 91, 189, 251
REFUSALS = 4
COMMANDS = ["insert", "find", "update", "aggregate"]


def retries(ingest: RunningIngest) -> float:
    reasons = ("network", "timeout", "not_primary", "write_conflict", "other")
    return sum(ingest.value("mongodb_retries_total", reason=reason) for reason in reasons)


# ---- errors that pass ----


@pytest.mark.parametrize("code", [NOT_PRIMARY, SHUTTING_DOWN, STEPPED_DOWN, NO_SUCH_TRANSACTION])
@pytest.mark.long
async def test_a_server_that_refuses_for_a_while_is_asked_again_and_no_record_skipped(
    database: Database, kafka: str, topic: str, code: int
) -> None:
    published = [event(number % 9) for number in range(200)]
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(4)
        # More than the driver repeats by itself.
        mode = {"times": REFUSALS}
        async with failpoint(
            database.client, "failCommand", mode, failCommands=COMMANDS, errorCode=code
        ) as failing:
            await send(kafka, topic, records(published))
            await ingest.until_processed(200)
        assert failing.hits == REFUSALS
        assert retries(ingest) >= 1
        assert ingest.outcome("stored") + ingest.outcome("redelivered") == 200
    await assert_exactly_once(database, published, voids=None)


@pytest.mark.slow
async def test_a_write_that_no_majority_confirms_is_sent_again(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number % 9) for number in range(200)]
    with capture_logs() as logs:
        async with running(database, options(kafka, topic)) as ingest:
            await ingest.until_assigned(4)
            refusal = {"code": SHUTTING_DOWN, "errmsg": "shutting down"}
            async with failpoint(
                database.client,
                "failCommand",
                {"times": 8},
                failCommands=["insert"],
                writeConcernError=refusal,
            ) as failing:
                await send(kafka, topic, records(published))
                await ingest.until_processed(200)
            assert failing.hits == 8
            assert retries(ingest) >= 1
    await assert_exactly_once(database, published, voids=None)
    waits = [each["event"] for each in logs if "waits_for_mongodb" in each["event"]]
    assert waits == ["ingest_waits_for_mongodb", "ingest_waits_for_mongodb_over"]


@pytest.mark.slow
async def test_write_conflicts_cost_time_only(database: Database, kafka: str, topic: str) -> None:
    published = [event(number % 9) for number in range(300)]
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(4)
        async with failpoint(
            database.client, "WTWriteConflictException", {"activationProbability": 0.2}
        ) as failing:
            await send(kafka, topic, records(published))
            await ingest.until_processed(300)
        assert failing.hits >= 1
    await assert_exactly_once(database, published, voids=None)


# ---- done in part ----


@pytest.mark.slow
async def test_rows_of_which_one_failed_are_completed_by_the_next_worker(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number) for number in range(60)]
    await send(kafka, topic, records(published, partition=0))
    chosen = options(kafka, topic)
    async with failpoint(
        database.client, "failUnorderedTimeseriesInsert", metadata=row_metadata(published[31])
    ) as failing:
        # An error nobody knows to pass: the role ends, and says so.
        with pytest.raises(Refused, match="1 of"):
            async with running(database, chosen) as first:
                await first.task
        assert await database.user_interactions.count_documents({}) == 59
    assert failing.hits >= 1
    async with running(database, chosen) as second:
        await second.until_processed(60)
        assert second.outcome("redelivered") == 60
    await assert_exactly_once(database, published)


def row_metadata(fields: dict[str, Any]) -> dict[str, Any]:
    """What the row of an event will have there, in the order the server compares it in."""
    [document] = stored_before("somewhere", [Sent(encode(fields))], [(0, 0)])
    return dict(sorted(interaction_row(document)["metadata"].items()))


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[tuple[Database, list[Mongod]]]:
    """A database on a mongod that the test may kill; the list holds the one that runs."""
    server = [await start_mongod(folder, parameters=TEST_PARAMETERS)]
    client = make_client(server[0].uri)
    try:
        database = open_database(client, prefix="part")
        await apply_schema(database)
        yield database, server
    finally:
        await driver.close(client)
        server[0].stop()


async def killed_and_restarted(server: list[Mongod], folder: Path) -> None:
    server[0].process.popen.kill()
    await asyncio.to_thread(server[0].process.popen.wait)
    server[0] = await start_mongod(folder, port=server[0].port, parameters=TEST_PARAMETERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hangs", "collection"),
    [
        # The server inserts documents in groups and buckets one by one: two are done, the third hangs.
        ("hangDuringBatchInsert", "course_events"),
        ("hangTimeseriesInsertBeforeCommit", "user_interactions"),
    ],
)
async def test_an_insert_that_mongod_did_not_survive_is_completed(
    tmp_path: Path, kafka: str, topic: str, hangs: str, collection: str
) -> None:
    published = [event(number % 40) for number in range(400)]
    chosen = options(kafka, topic)
    # At least eight commands, however they arrive: the third one hangs.
    chosen = replace(chosen, consumer=replace(chosen.consumer, max_records=50))
    async with own_server(tmp_path) as (database, server), running(database, chosen) as ingest:
        await ingest.until_assigned(4)
        there = database.collection(collection).with_options(read_concern=ReadConcern("local"))
        place = f"{there.database.name}.{collection}"
        hanging = Failpoint(database.client, hangs)
        await hanging.on({"skip": 2}, {"nss": place})
        await send(kafka, topic, records(published, partition=0))
        await hanging.until_hit()
        # What the insert has done so far is in the journal once a later write is.
        journaled = WriteConcern(w=1, j=True)
        await database.config.get_collection("later", write_concern=journaled).insert_one({})
        assert 0 < await there.count_documents({}) < 400
        await killed_and_restarted(server, tmp_path)
        # The driver repeats it once by itself, the role for as long as it takes.
        await ingest.until_processed(400)
        await assert_exactly_once(database, published, voids=None)


# ---- a zombie ----


@pytest.mark.slow
async def test_a_zombie_whose_insert_hangs_in_the_server_is_waited_for_and_then_shut_out(
    database: Database, kafka: str, topic: str
) -> None:
    early, late = ([event(number) for number in range(40)] for _ in range(2))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(4)
        async with failpoint(database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
            await send(kafka, topic, records(early, partition=0))
            await hanging.until_hit()
            taking = asyncio.create_task(
                take_partition(database, topic, 0, uuid.uuid4(), clock=SystemClock(), deadline_s=60.0)
            )
            burns = {"command.update": "leases", "command.txnNumber": Int64(BURN_NUMBER)}
            await until(lambda: operations(database.client, burns), "the burn has reached the server")
            assert not taking.done()
        await taking
        await send(kafka, topic, records(late, partition=0))
        await ingest.until_processed(80)
        assert ingest.value("fenced_writes_total", component="ingest") >= 1
        await ingest.until_moved("fenced_writes_total")
    await assert_exactly_once(database, early + late)
