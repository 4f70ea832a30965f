"""Killed at each of its writes, the role repeats exactly what it had sent and not marked, in equal bytes."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.chaos.target import TargetWorker
from tests.conftest import RunningMongo
from tests.integration.notify.http_receiver import HttpReceiver
from tests.support.matrices import one_of_each
from tests.support.notify import row, write
from tests.support.waiting import until
from worker.devstack.servers.process import free_port
from worker.storage.database import Database

ROWS = 40
SECRET = "a secret of some length"  # noqa: S105 - of this test

CLAIM = "update:notifications~lease_until"
MARK = "update:notifications~sent_at"


@pytest.mark.parametrize(
    "point",
    one_of_each(
        [f"before:{MARK}:1", f"before:{CLAIM}:1", f"after:{CLAIM}:1", f"after:{MARK}:1", f"before:{MARK}:2"],
        lambda point: CLAIM in point,
    ),
)
async def test_only_what_was_sent_and_not_marked_goes_out_twice(
    database: Database, mongodb: RunningMongo, tmp_path: Path, point: str
) -> None:
    keys = await write(database, [row(number) for number in range(ROWS)])
    with HttpReceiver() as receiver:
        target = TargetWorker(tmp_path, _settings(database, mongodb, receiver))
        assert await target.killed_at(point) == -signal.SIGKILL
        receiver.die()  # nothing of the dead worker is accepted from here on
        accepted = +receiver.accepted
        marked = {each["_id"] async for each in database.notifications.find({"status": "sent"})}
        in_doubt = accepted.keys() - marked
        assert marked <= accepted.keys()
        assert not (in_doubt and CLAIM in point)
        assert in_doubt or f"before:{MARK}" not in point

        receiver.revive()
        successor = target.start()
        try:

            async def all_sent() -> bool:
                successor.require_alive()
                return await database.notifications.count_documents({"status": "sent"}) == ROWS

            await until(all_sent, "every row to be sent")
        finally:
            await asyncio.to_thread(successor.stop)
        assert successor.returncode == 0
    assert receiver.accepted == {key: 2 if key in in_doubt else 1 for key in keys}
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())


def _settings(database: Database, mongodb: RunningMongo, receiver: HttpReceiver) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_ROLES": "notify",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_HTTP_PORT": str(free_port()),
        "SEVENP_NOTIFY_ROUTES": "completion=webhook",
        "SEVENP_NOTIFY_WEBHOOK_URL": receiver.url,
        "SEVENP_NOTIFY_WEBHOOK_SECRET": SECRET,
        "SEVENP_NOTIFY_LEASE_S": "2",
    }
