"""A client whose users are cancelled while they wait for a connection goes on serving the others."""

import asyncio
import contextlib
import random
import time
import uuid

import pytest

from tests.conftest import RunningMongo
from tests.integration.storage.fences import failpoint
from tests.support.waiting import until
from worker.storage import driver
from worker.storage.database import Client, make_client

WAITERS = 80
BUSY_FOR_S = 3.0
# A wait for the one connection ends after this; the deadlines of those who wait come at about the same time.
WAIT_S = 0.5


async def test_deadlines_that_come_as_waits_for_a_connection_end_leave_the_client_usable(
    mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.storage.database._WAIT_FOR_POOL_MS", int(WAIT_S * 1000))
    name = f"crowd-{uuid.uuid4().hex[:8]}"
    crowded, other = (
        make_client(f"{mongodb.uri}&maxPoolSize=1", application_name=name),
        make_client(mongodb.uri),
    )
    waiting: set[asyncio.Task[int]] = set()
    try:
        async with failpoint(
            other,
            "failCommand",
            failCommands=["ping"],
            appName=name,
            blockConnection=True,
            blockTimeMS=int(1400 * WAIT_S),
        ) as busy:
            waiting = {asyncio.create_task(_ask_until_over(crowded, seed)) for seed in range(WAITERS)}
            done, _ = await asyncio.wait(waiting, timeout=60)
        assert len(done) == WAITERS, "some wait for a lock that nobody gives back"
        assert sum(task.result() for task in done) > WAITERS
        assert busy.hits >= 1

        async def answered() -> bool:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await crowded.admin.command("ping")
                    return True
            return False

        await until(answered, "the client answers")
    finally:
        await _end(crowded, waiting)
        await driver.close(crowded)
        await driver.close(other)


async def _ask_until_over(client: Client, seed: int) -> int:
    """How many questions were given up."""
    jitter, end, given_up = random.Random(seed), time.monotonic() + BUSY_FOR_S, 0  # noqa: S311
    while time.monotonic() < end:
        try:
            async with asyncio.timeout(WAIT_S + jitter.random() / 250):
                await client.admin.command("ping")
        except Exception:
            given_up += 1
    return given_up


async def _end(client: Client, waiting: "set[asyncio.Task[int]]") -> None:
    """Who waits for a lost lock hears no cancellation: it is given back, so that a failure ends."""
    while any(not task.done() for task in waiting):
        for server in client._topology._servers.values():  # noqa: SLF001
            if server.pool.lock.locked():
                server.pool.lock.release()
        await asyncio.sleep(0.01)
