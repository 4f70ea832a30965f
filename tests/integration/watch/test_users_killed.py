"""A worker that is killed at a write of the contest leaves nothing that its successor does not put right."""

import asyncio
import signal
from pathlib import Path

import pytest

from projections.account.projection import USER_CLAIMS, USERS
from tests.chaos.target import TargetWorker
from tests.conftest import RunningMongo
from tests.integration.watch.test_users import agrees, life, own, registered, store, user, users
from tests.support.matrices import one_of_each
from tests.support.waiting import until
from worker.devstack.servers.process import free_port
from worker.storage.database import Database
from worker.verify.run import verify

__all__ = ["own"]

ROWS = USER_CLAIMS.contenders.collection


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    one_of_each(
        [
            "after:update:users~username:1",
            f"before:update:{ROWS}:1",
            "before:update:analytics_queue~user_claims:1",
        ]
    ),
)
async def test_a_successor_decides_what_was_cut_off(
    own: Database, mongodb: RunningMongo, tmp_path: Path, point: str
) -> None:
    lives = [life(number, registered(number, 10 - number)) for number in range(1, 5)]
    await store(own, [event for each in lives for event in each])
    settings = {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": own.prefix,
        "SEVENP_ROLES": "progress,counts",
        "SEVENP_USERS_OWNER": "worker",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_HTTP_PORT": str(free_port()),
    }
    target = TargetWorker(tmp_path, settings)
    assert await target.killed_at(point) == -signal.SIGKILL
    # Meanwhile the one who would have the name is called otherwise, and somebody else came first.
    changed = life(4, registered(4, 6), ("username_changed", 50, {"username": "other"}))[1:]
    await store(own, [*changed, *life(5, registered(5, 1))])
    successor = target.start()
    try:

        async def decided() -> bool:
            successor.require_alive()
            return len(await users(own)) == 5 and await agrees(own)

        await until(decided, "the successor to decide")
    finally:
        await asyncio.to_thread(successor.stop)
    assert {name for name, each in (await users(own)).items() if each.get("username") == "jane"} == {user(5)}
    result = await verify(own, quiescent=True)
    assert [str(each) for each in result.findings if each.kind in (USERS.name, USER_CLAIMS.name)] == []
