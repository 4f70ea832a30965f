"""Transactions: all of a unit's writes or none, on either driver."""

import uuid

import pytest

from tests.support.failpoints import failing
from tests.support.jobs import job_run
from worker.errors import Retryable
from worker.storage import driver
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.transactions import Session, Transactions


@pytest.fixture(params=["pymongo", "motor"])
def driver_kind(request: pytest.FixtureRequest) -> str:
    """Both, each time."""
    return str(request.param)


async def add(database: Database, name: str, session: Session | None = None) -> None:
    with translated():
        await database.job_runs.insert_one({**job_run("test", 1), "_id": name}, session=session)


async def names(database: Database) -> list[str]:
    return sorted([each["_id"] for each in await database.job_runs.find({}).to_list(None)])


async def test_a_unit_is_seen_as_a_whole_and_may_be_followed_by_the_next(any_database: Database) -> None:
    transactions = Transactions(any_database.client)

    async def unit(session: Session) -> int:
        await add(any_database, "a", session)
        await add(any_database, "b", session)
        assert await names(any_database) == []
        return 2

    async def next_unit(session: Session) -> None:
        await add(any_database, "c", session)

    assert await transactions.run(unit) == 2
    await transactions.run(next_unit)
    assert await names(any_database) == ["a", "b", "c"]
    await transactions.close()
    await transactions.close()


async def test_a_unit_that_raises_leaves_nothing(any_database: Database) -> None:
    transactions = Transactions(any_database.client)

    async def unit(session: Session) -> None:
        await add(any_database, "a", session)
        raise ArithmeticError("half way")

    with pytest.raises(ArithmeticError):
        await transactions.run(unit)
    assert await names(any_database) == []
    await transactions.close()


async def test_of_two_that_write_the_same_document_one_may_run_again(any_database: Database) -> None:
    await add(any_database, "a")
    first, second = Transactions(any_database.client), Transactions(any_database.client)

    async def raise_count(session: Session) -> None:
        with translated():
            await any_database.job_runs.update_one({"_id": "a"}, {"$inc": {"counts.n": 1}}, session=session)

    async def overtaken(session: Session) -> None:
        with translated():
            await any_database.job_runs.find_one({"_id": "a"}, session=session)
        await second.run(raise_count)
        await raise_count(session)

    with pytest.raises(Retryable):
        await first.run(overtaken)
    await first.run(raise_count)
    stored = await any_database.job_runs.find_one({"_id": "a"}) or {}
    assert stored["counts"] == {"n": 2}
    await first.close()
    await second.close()


async def test_an_open_transaction_of_another_process_is_ended_by_its_session(any_database: Database) -> None:
    await add(any_database, "a")
    dead = await driver.start_session(any_database.client)
    await driver.start_transaction(dead)
    await any_database.job_runs.update_one({"_id": "a"}, {"$set": {"counts": {"n": 9}}}, session=dead)
    transactions = Transactions(any_database.client)
    assert await transactions.end_elsewhere(dead.session_id["id"].as_uuid()) is None
    await any_database.job_runs.update_one({"_id": "a"}, {"$set": {"counts": {"n": 1}}})
    stored = await any_database.job_runs.find_one({"_id": "a"}) or {}
    assert stored["counts"] == {"n": 1}
    assert await transactions.end_elsewhere(uuid.uuid4()) is None
    await transactions.close()


@pytest.mark.parametrize("code", [13, 999_999], ids=["Unauthorized", "unknown"])
async def test_who_may_end_no_session_is_told_why(watched: Database, code: int) -> None:
    transactions = Transactions(watched.client)
    async with failing(watched, ["killSessions"], code=code, times=1):
        assert str(code) in str(await transactions.end_elsewhere(uuid.uuid4()))
    await transactions.close()


async def test_a_session_has_one_name_for_life(any_database: Database) -> None:
    transactions = Transactions(any_database.client)
    name = await transactions.session_id()
    await transactions.run(lambda session: add(any_database, "a", session))
    assert await transactions.session_id() == name
    await transactions.close()
