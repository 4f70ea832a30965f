"""Reading from a real server, by both drivers: odd documents cost only themselves, whatever they are read by."""

import pytest
from bson import DatetimeMS, ObjectId
from bson.raw_bson import RawBSONDocument

from tests.support.odd_bson import raw_document, raw_text
from tests.support.waiting import stretched
from worker.storage import driver
from worker.storage.database import Database
from worker.storage.reading import Unreadable, aggregate, batches, find, find_one
from worker.storage.retrying import retrying
from worker.storage.updating import send_each
from worker.timing import SystemClock

FAR = DatetimeMS(253_402_300_800_000)
GOOD = [ObjectId(f"{n:024x}") for n in range(300)]
ODD = ObjectId("f" * 24)
BROKEN = ObjectId("e" * 24)


async def add_users(database: Database, *, size: int = 1) -> None:
    users = database.content.get_collection("users")
    await users.insert_many([{"_id": each, "email": str(each), "t": "x" * size} for each in GOOD])
    await users.insert_one({"_id": ODD, "email": "odd", "t": FAR})
    broken = raw_document(
        (0x07, b"_id", BROKEN.binary), (0x02, b"email", raw_text(b"e")), (0x02, b"t", raw_text(b"\xff"))
    )
    await users.insert_one(RawBSONDocument(broken))


async def test_one_odd_document_costs_only_itself_however_it_is_read(any_database: Database) -> None:
    await add_users(any_database)
    users = any_database.users
    for reading in (
        await find(users, {}, {"t": 1}, sort=[("_id", 1)]),
        await aggregate(users, [{"$match": {}}, {"$project": {"t": 1}}]),
    ):
        assert {each["_id"] for each in reading.documents} == set(GOOD)
        assert {each.id for each in reading.unreadable} == {ODD, BROKEN}
        assert reading.complete
    assert (await find(users, {}, {"email": 1})).unreadable == []  # what is not asked for cannot hurt
    assert isinstance(await find_one(users, {"_id": ODD}), Unreadable)
    assert await find_one(users, {"_id": GOOD[0]}, {"_id": 1}) == {"_id": GOOD[0]}
    assert await find_one(users, {"_id": "nobody"}) is None


async def test_a_bound_in_bytes_ends_the_reading_between_two_answers(any_database: Database) -> None:
    await add_users(any_database, size=1_000)
    some = await find(any_database.users, {}, max_bytes=50_000, batch_size=10, sort=[("_id", 1)])
    assert not some.complete
    assert 50_000 <= some.size_bytes < 65_000
    assert [each["_id"] for each in some.documents] == GOOD[: len(some.documents)]
    everything = await find(any_database.users, {}, max_bytes=10_000_000)
    assert everything.complete
    assert len(everything.documents) == len(GOOD)
    sizes = [
        len(batch.documents)
        async for batch in batches(any_database.users, {"_id": {"$in": GOOD}}, batch_size=100)
    ]
    assert sizes == [100, 100, 100]


async def test_a_transaction_reads_the_same_way(any_database: Database) -> None:
    await add_users(any_database)
    session = await driver.start_session(any_database.client)
    await driver.start_transaction(session)
    await any_database.users.update_one({"_id": GOOD[0]}, {"$set": {"email": "new"}}, session=session)
    inside = await find(any_database.users, {"email": "new"}, session=session)
    outside = await find(any_database.users, {"email": "new"})
    rows = await aggregate(any_database.users, [{"$match": {"email": "new"}}], session=session)
    await session.abort_transaction()
    await session.end_session()
    assert len(inside.documents) == len(rows.documents) == 1
    assert outside.documents == []


@pytest.mark.parametrize("named", ["find", "aggregate", "update"])
async def test_the_driver_hears_of_a_failure_that_passes(any_database: Database, named: str) -> None:
    """It would take the server for gone, for seconds, if it could not read which answer says so."""
    await add_users(any_database)
    users, clock = any_database.users, SystemClock()
    home = users.database.name
    away = {"failCommands": [named], "errorCode": 10107, "namespace": f"{home}.users"}
    admin = any_database.client.admin
    await admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=away)
    began = clock.monotonic()

    async def ask() -> object:
        if named == "find":
            return await find(users, {"_id": GOOD[0]})
        if named == "aggregate":
            return await aggregate(users, [{"$match": {"_id": GOOD[0]}}])
        return await send_each(users, [(0, {"_id": GOOD[0]}, [{"$set": {"email": "new"}}])])

    assert await retrying(ask, clock=clock, on_retry=lambda _error: None)
    assert clock.monotonic() - began < stretched(4)
