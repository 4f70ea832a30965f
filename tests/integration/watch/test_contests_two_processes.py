"""Two processes that decide on the same claims at once, one of them killed on its way, end with the same."""

import asyncio
import random
import signal
from functools import partial
from pathlib import Path

import pytest

from projections.account.projection import USER_CLAIMS, USERS
from tests.chaos.launcher import ACT_VARIABLE
from tests.chaos.target import TargetWorker
from tests.conftest import RunningMongo
from tests.integration.watch.test_users import agrees, life, own, registered, store, users
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess, free_port
from worker.storage.database import Database, Document
from worker.verify.run import verify

__all__ = ["own"]

ROWS = USER_CLAIMS.contenders.collection
_NAMES = ("jane", "john", "kim")


def lives(chance: random.Random, turn: int) -> list[list[Document]]:
    """Ten who register and call themselves otherwise later, all by the same few names."""
    return [
        life(
            number,
            registered(number, chance.randrange(100), chance.choice(_NAMES)),
            ("username_changed", 100 + chance.randrange(100), {"username": chance.choice(_NAMES)}),
        )
        for number in range(10 * turn, 10 * turn + 10)
    ]


def _ended(process: ServerProcess) -> bool:
    return process.returncode is not None


async def _begun(database: Database, runs: int) -> bool:
    return await database.job_runs.count_documents({}) == runs


def settings_of(database: Database, mongodb: RunningMongo) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_ROLES": "progress,counts",
        "SEVENP_USERS_OWNER": "worker",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_HTTP_PORT": str(free_port()),
    }


async def assert_all_is_right(database: Database) -> None:
    assert {each.get("username") for each in (await users(database)).values()} == {None, *_NAMES}
    result = await verify(database, quiescent=True)
    assert [str(each) for each in result.findings if each.kind in (USERS.name, USER_CLAIMS.name)] == []


@pytest.mark.slow
async def test_a_worker_and_a_rebuild_decide_at_once(
    own: Database, mongodb: RunningMongo, tmp_path: Path
) -> None:
    """The worker follows while a rebuild decides everything anew beside it, again and again."""
    chance = random.Random(3)  # noqa: S311  # a repeatable story
    target = TargetWorker(tmp_path, settings_of(own, mongodb))
    rebuild = ("rebuild", "counts", "--projection", USER_CLAIMS.name)
    worker = target.start(name="worker")
    ended: list[int | None] = []
    try:
        for turn in range(5):
            again = target.start(name=f"rebuild-{turn}", arguments=rebuild)
            await store(own, [event for each in lives(chance, turn) for event in each])
            await until(partial(_ended, again), "the rebuild to end")
            ended.append(again.returncode)
        again = target.start(name="killed", arguments=rebuild)
        # It may be over before anybody looks: then it was not killed, and that is as right.
        await until(partial(_begun, own, runs=6), "it to have begun")
        again.popen.send_signal(signal.SIGKILL)
        await store(own, [event for each in lives(chance, 5) for event in each])

        async def decided() -> bool:
            worker.require_alive()
            return len(await users(own)) == 60 and await agrees(own)

        await until(decided, "both to have decided the same")
    finally:
        await asyncio.to_thread(worker.stop)
    assert ended == [0] * 5
    await assert_all_is_right(own)


@pytest.mark.long
async def test_a_worker_that_was_frozen_while_it_decided_goes_on_beside_its_successor(
    own: Database, mongodb: RunningMongo, tmp_path: Path
) -> None:
    """It wakes in the middle of a transaction whose claims another one has decided meanwhile."""
    chance = random.Random(4)  # noqa: S311  # a repeatable story
    target = TargetWorker(tmp_path, {**settings_of(own, mongodb), "SEVENP_WATCH_LEASE_S": "2"})
    await store(own, [event for each in lives(chance, 0) for event in each])
    frozen = target.start(f"before:update:{ROWS}:1", {ACT_VARIABLE: "stop"}, name="frozen")
    started = [frozen]

    async def decided(number: int) -> bool:
        started[-1].require_alive()
        return len(await users(own)) == number and await agrees(own)

    try:
        await until(lambda: len(target.crashes()) == 1, "it to stand still")
        started.append(target.start(settings={"SEVENP_HTTP_PORT": str(free_port())}, name="successor"))
        await store(own, [event for each in lives(chance, 1) for event in each])
        # The server gives up the open transaction after a minute.
        await until(partial(decided, 20), "its successor to decide")
        frozen.popen.send_signal(signal.SIGCONT)
        for turn in (2, 3):
            await store(own, [event for each in lives(chance, turn) for event in each])
            await until(partial(decided, 10 * turn + 10), "both to have decided the same")
        frozen.require_alive()
    finally:
        frozen.popen.send_signal(signal.SIGCONT)
        for each in started:
            await asyncio.to_thread(each.stop)
    await assert_all_is_right(own)
