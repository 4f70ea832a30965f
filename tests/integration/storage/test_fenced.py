"""The fence on a real server, with both drivers: rows once, and none from an owner that was burned."""

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Int64
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.client_session_shared import _EmptyServerSession, _ServerSession, _ServerSessionPool

from tests.conftest import RunningMongo
from tests.integration.storage.fences import (
    DEADLINE_S,
    NOON,
    ended,
    failpoint,
    once,
    operations,
    rows,
    send,
    stored,
    watched_client,
)
from tests.support.clocks import ManualClock
from tests.support.waiting import until
from worker.devstack.servers.mongod import start_mongod
from worker.errors import Fenced, Refused, Retryable
from worker.storage import driver
from worker.storage.database import Client, Database, make_client, open_database
from worker.storage.fenced import BURN_NUMBER, burn_session
from worker.storage.partition_lease import PartitionLease, assert_in_force, lease_id, take_partition
from worker.storage.schema import apply_schema
from worker.telemetry.waits import server_of


@pytest.fixture(params=["pymongo", "motor"])
def driver_kind(request: pytest.FixtureRequest) -> str:
    """Both, each time."""
    return str(request.param)


async def put_lease(database: Database, key: str, session: uuid.UUID) -> None:
    await database.leases.insert_one(
        {"_id": key, "kind": "partition", "session": session, "burns": 0, "updated_at": NOON}
    )


async def burns(database: Database, key: str) -> int:
    lease = await database.leases.find_one({"_id": key})
    assert lease is not None
    return int(lease["burns"])


async def burn(database: Database, key: str, session: uuid.UUID) -> None:
    await burn_session(database.leases, key, session, deadline_s=DEADLINE_S)


async def take(database: Database, session: uuid.UUID) -> PartitionLease:
    return await take_partition(database, "events", 3, session, clock=ManualClock(), deadline_s=DEADLINE_S)


def pooled_ids(client: Client) -> list[bytes]:
    """The session ids the driver would use again for anything."""
    return [bytes(session.session_id["id"]) for session in session_pool(client)]


def session_pool(client: Client) -> Any:
    """The private pool of the PyMongo client, which Motor wraps."""
    pymongo = client.delegate if isinstance(client, AsyncIOMotorClient) else client
    return vars(vars(pymongo)["_topology"])["_session_pool"]


# ---- insert once ----


async def test_a_command_sent_again_unchanged_inserts_nothing_twice(any_database: Database) -> None:
    session, sent = uuid.uuid4(), rows(50)
    for _ in range(3):
        await send(any_database, session, 1, sent)
    assert await stored(any_database) == once(sent)


async def test_two_senders_of_one_command_insert_once(any_database: Database) -> None:
    session, sent = uuid.uuid4(), rows(200)
    await asyncio.gather(*(send(any_database, session, 1, sent) for _ in range(4)))
    assert await stored(any_database) == once(sent)


async def test_the_next_number_inserts_the_next_rows(any_database: Database) -> None:
    session, first, second = uuid.uuid4(), rows(10), rows(10)
    await send(any_database, session, 1, first)
    await send(any_database, session, 2, second)
    assert await stored(any_database) == once(first) + once(second)


async def test_an_older_number_is_fenced(any_database: Database) -> None:
    session, late = uuid.uuid4(), rows(5)
    await send(any_database, session, 2, rows(5))
    with pytest.raises(Fenced):
        await send(any_database, session, 1, late)
    assert not (await stored(any_database)).keys() & once(late).keys()


async def test_what_a_partial_failure_left_out_is_inserted_by_sending_again(any_database: Database) -> None:
    session, sent = uuid.uuid4(), rows(9)
    spoilt = dict(sorted(sent[4]["metadata"].items()))  # the server compares normalised metadata
    async with failpoint(any_database.client, "failUnorderedTimeseriesInsert", metadata=spoilt) as failing:
        with pytest.raises(Refused, match="1 of 9"):
            await send(any_database, session, 1, sent)
        assert await stored(any_database) == once(sent[:4] + sent[5:])
    assert failing.hits >= 1
    await send(any_database, session, 1, sent)
    assert await stored(any_database) == once(sent)


async def test_a_command_without_an_answer_in_time_is_retryable(any_database: Database) -> None:
    session, sent = uuid.uuid4(), rows(20)
    async with failpoint(any_database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
        with pytest.raises(Retryable, match="no answer") as silent:
            await send(any_database, session, 1, sent, deadline_s=1.0)
    assert hanging.hits >= 1
    assert server_of(silent.value) == "mongodb"
    await send(any_database, session, 1, sent)

    # This answer did not wait for a majority, which is why `SeriesWriter` asks for one.
    async def all_there() -> bool:
        return (await stored(any_database)).total() >= len(sent)

    await until(all_there, "the rows are on a majority")
    assert await stored(any_database) == once(sent)


# ---- burn ----


async def test_after_a_burn_the_older_owner_writes_nothing(any_database: Database) -> None:
    session, early, late = uuid.uuid4(), rows(5), rows(5)
    await put_lease(any_database, "partition:t:0", session)
    await send(any_database, session, 1, early)
    await burn(any_database, "partition:t:0", session)
    for number in (1, 2, 1_000_000):
        with pytest.raises(Fenced):
            await send(any_database, session, number, late)
    assert await stored(any_database) == once(early)


async def test_a_burn_changes_its_lease_once_however_often_it_is_sent(any_database: Database) -> None:
    session = uuid.uuid4()
    await put_lease(any_database, "partition:t:0", session)
    for _ in range(3):
        await burn(any_database, "partition:t:0", session)
    assert await burns(any_database, "partition:t:0") == 1
    await burn(any_database, "partition:t:0", uuid.uuid4())
    assert await burns(any_database, "partition:t:0") == 2


async def test_a_burn_without_a_lease_is_no_burn(any_database: Database) -> None:
    with pytest.raises(Retryable, match="no lease"):
        await burn(any_database, "partition:t:9", uuid.uuid4())


async def test_a_burn_the_server_refuses_is_no_burn(any_database: Database) -> None:
    session = uuid.uuid4()
    await put_lease(any_database, "partition:t:0", session)
    await any_database.config.command(
        {"collMod": "leases", "validator": {"burns": {"$lt": 1}}, "validationLevel": "strict"}
    )
    with pytest.raises(Refused, match="121"):
        await burn(any_database, "partition:t:0", session)


async def test_the_burn_waits_for_an_insert_in_flight(any_database: Database) -> None:
    session, sent = uuid.uuid4(), rows(5)
    await put_lease(any_database, "partition:t:0", session)
    async with failpoint(any_database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
        inserting = asyncio.create_task(send(any_database, session, 1, sent))
        await hanging.until_hit()
        burning = asyncio.create_task(burn(any_database, "partition:t:0", session))
        asked = {"command.update": "leases", "command.txnNumber": Int64(BURN_NUMBER)}
        await until(lambda: operations(any_database.client, asked), "the burn has reached the server")
        assert not burning.done()
        assert await burns(any_database, "partition:t:0") == 0
    assert hanging.hits >= 1
    await asyncio.gather(inserting, burning)
    assert await burns(any_database, "partition:t:0") == 1
    assert await stored(any_database) == once(sent)
    with pytest.raises(Fenced):
        await send(any_database, session, 2, rows(1))


@pytest.mark.slow
async def test_a_burn_survives_the_death_of_the_server(tmp_path: Path) -> None:
    session, early = uuid.uuid4(), rows(5)
    mongod = await start_mongod(tmp_path)
    client = make_client(mongod.uri)
    database = open_database(client, prefix="burn")
    try:
        await apply_schema(database)
        await put_lease(database, "partition:t:0", session)
        await send(database, session, 1, early)
        await burn(database, "partition:t:0", session)
        mongod.process.popen.kill()
        mongod.process.popen.wait()
        mongod = await start_mongod(tmp_path, port=mongod.port)
        with pytest.raises(Fenced):
            await send(database, session, 2, rows(5))
        assert await stored(database) == once(early)
    finally:
        await driver.close(client)
        mongod.stop()


# ---- the driver's own sessions ----


async def test_what_we_use_of_the_driver_is_still_there(any_database: Database) -> None:
    handle = await driver.start_session(any_database.client)
    inner = driver.pymongo_session(handle)
    private = vars(inner)
    # The placeholder has no id, so dropping it loses nothing; the real one is made when a command needs it.
    assert isinstance(private["_server_session"], _EmptyServerSession)
    await any_database.config.command({"ping": 1}, session=handle)
    assert isinstance(private["_server_session"], _ServerSession)
    assert {"session_id", "last_use", "dirty", "generation"} <= vars(private["_server_session"]).keys()
    assert isinstance(session_pool(any_database.client), _ServerSessionPool)
    private["_server_session"] = None  # `has_ended`: the session cannot be used any more
    assert inner.has_ended
    await handle.end_session()


async def test_a_command_carries_our_session_and_number(
    any_database: Database, driver_kind: str, mongodb: RunningMongo
) -> None:
    client, watched = watched_client(driver_kind, mongodb.uri, "carries")
    session = uuid.uuid4()
    try:
        await send(open_database(client, prefix=any_database.prefix), session, 7, rows(2))
        [command] = watched.named("insert")
        assert (command["lsid"]["id"], command["txnNumber"]) == (Binary(session.bytes, 4), 7)
        assert (command["stmtIds"], command["writeConcern"]) == ([0, 1], {"w": "majority", "j": True})
    finally:
        await driver.close(client)


async def test_a_foreign_session_id_never_reaches_the_drivers_pool(any_database: Database) -> None:
    session, other = uuid.uuid4(), uuid.uuid4()
    await put_lease(any_database, "partition:t:0", session)
    await send(any_database, session, 1, rows(2))
    await burn(any_database, "partition:t:0", session)
    with pytest.raises(Fenced):
        await send(any_database, session, 2, rows(2))
    async with failpoint(any_database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
        sending = asyncio.create_task(send(any_database, other, 1, rows(2)))
        await hanging.until_hit()
        await ended(sending)
    assert hanging.hits >= 1
    await any_database.leases.find_one({})
    pooled = pooled_ids(any_database.client)
    assert pooled  # the driver does pool: what is not in it was kept out
    assert not {session.bytes, other.bytes} & set(pooled)


async def test_a_cancelled_command_cannot_go_out_later(
    any_database: Database, driver_kind: str, mongodb: RunningMongo
) -> None:
    name = f"cancelled-{uuid.uuid4()}"
    client, watched = watched_client(driver_kind, mongodb.uri, name)
    database = open_database(client, prefix=any_database.prefix)
    try:
        await database.config.command({"ping": 1})
        async with failpoint(
            any_database.client,
            "failCommand",
            failCommands=["ping"],
            appName=name,
            blockConnection=True,
            blockTimeMS=2_000,
        ) as blocking:
            holding = asyncio.ensure_future(database.config.command({"ping": 1}))
            await blocking.until_hit()
            before = watched.check_outs["started"]
            sending = asyncio.create_task(send(database, uuid.uuid4(), 1, rows(3)))
            await until(lambda: watched.check_outs["started"] > before, "the insert waits for the connection")
            await ended(sending)
            await holding
        assert blocking.hits >= 1
        await until(
            lambda: watched.check_outs["ended"] >= watched.check_outs["started"] or driver_kind == "pymongo",
            "nobody waits for a connection",
        )
        await database.leases.find_one({})
        assert not watched.named("insert")
        assert not await stored(any_database)
    finally:
        await driver.close(client)


# ---- leases ----


async def test_of_several_takers_at_once_one_owns_the_partition_and_the_others_are_burned(
    any_database: Database,
) -> None:
    sessions = [uuid.uuid4() for _ in range(4)]
    taken = await asyncio.gather(
        *(take(any_database, session) for session in sessions), return_exceptions=True
    )
    assert all(isinstance(each, PartitionLease | Fenced) for each in taken), taken
    lease = await any_database.leases.find_one({"_id": lease_id("events", 3)})
    assert lease is not None
    winner = lease["session"]
    assert PartitionLease("events", 3, winner) in [
        replace(each, burned=()) for each in taken if isinstance(each, PartitionLease)
    ]
    assert await any_database.leases.count_documents({}) == 1
    sent = rows(3)
    await send(any_database, winner, 1, sent)
    for loser in set(sessions) - {winner}:
        with pytest.raises(Fenced):
            await send(any_database, loser, 1, rows(3))
    assert await stored(any_database) == once(sent)


async def test_a_taker_whose_answer_was_lost_finds_its_own_session(any_database: Database) -> None:
    session = uuid.uuid4()
    await take(any_database, session)
    before = await burns(any_database, lease_id("events", 3))
    assert await take(any_database, session) == PartitionLease("events", 3, session)
    assert await burns(any_database, lease_id("events", 3)) == before
    await send(any_database, session, 1, rows(1))


async def test_a_session_that_was_burned_is_never_put_in_place_again(any_database: Database) -> None:
    """Its owner was overtaken between putting it there and looking: it would hold a lease and write nothing."""
    overtaken, newer = uuid.uuid4(), uuid.uuid4()
    await take(any_database, overtaken)
    second = await take(any_database, newer)
    with pytest.raises(Fenced, match="was burned"):
        await take(any_database, overtaken)
    await assert_in_force(any_database, second, NOON)
    await send(any_database, newer, 1, rows(1))


async def test_taking_burns_the_owner_before(any_database: Database) -> None:
    older, newer, sent = uuid.uuid4(), uuid.uuid4(), rows(4)
    first = await take(any_database, older)
    await send(any_database, older, 1, sent)
    second = await take(any_database, newer)
    with pytest.raises(Fenced):
        await send(any_database, older, 2, rows(4))
    with pytest.raises(Fenced):
        await assert_in_force(any_database, first, NOON)
    await assert_in_force(any_database, second, NOON)
    assert await stored(any_database) == once(sent)


async def test_a_taker_that_is_no_owner_any_more_burns_nobody(any_database: Database) -> None:
    """It read the session of whoever came after it: asked between reading and burning, it is told to stop."""
    rightful = await take(any_database, uuid.uuid4())
    asked: list[uuid.UUID] = []

    async def told_to_stop(session: uuid.UUID) -> None:
        asked.append(session)
        raise Retryable("a newer generation has the partition")

    with pytest.raises(Retryable):
        await take_partition(
            any_database,
            "events",
            3,
            uuid.uuid4(),
            clock=ManualClock(),
            deadline_s=DEADLINE_S,
            may_burn=told_to_stop,
        )
    assert asked == [rightful.session]
    await assert_in_force(any_database, rightful, ManualClock().now())
