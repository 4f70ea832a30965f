"""MongoDB that answers and refuses work: waited for and said, whatever its number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import RunningMongo
from tests.support.waiting import wait_until
from tests.support.worker_process import StartWorker, WorkerProcess, fetch
from worker.app.exits import ExitCode
from worker.storage import driver
from worker.storage.database import make_client

WRITES = ["insert", "update", "findAndModify", "delete"]


@asynccontextmanager
async def refusing(mongodb: RunningMongo, commands: list[str], code: int) -> AsyncIterator[None]:
    """All commands of these names, of any worker, are refused with the code."""
    client = make_client(mongodb.uri, application_name="operator")
    data = {"failCommands": commands, "appName": "sevenp-worker", "errorCode": code}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        yield
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)


@pytest.mark.slow
@pytest.mark.parametrize("code", [371, 999_999])
async def test_a_worker_waits_for_a_server_that_refuses_all_writes_is_not_ready_and_says_why(
    mongodb: RunningMongo, start_worker: StartWorker, code: int
) -> None:
    worker = start_worker()
    url = await asyncio.to_thread(worker.wait_until_ready)
    async with refusing(mongodb, WRITES, code):
        await asyncio.to_thread(wait_until, lambda: _told(f"{url}/readyz", code), f"not ready for {code}")
        assert worker.popen.poll() is None, worker.lines()
    await asyncio.to_thread(worker.wait_until_ready)
    assert _logged(worker, str(code))


async def test_start_checks_wait_for_a_server_that_cannot_answer_them_yet(
    mongodb: RunningMongo, start_worker: StartWorker
) -> None:
    async with refusing(mongodb, ["listCollections"], 94):
        worker = start_worker()
        url = await asyncio.to_thread(worker.url)
        await asyncio.to_thread(wait_until, lambda: _told(f"{url}/readyz", 94), "the check waits")
    await asyncio.to_thread(worker.wait_until_ready)


async def test_start_checks_that_are_never_answered_end_with_4_and_the_number(
    mongodb: RunningMongo, start_worker: StartWorker
) -> None:
    async with refusing(mongodb, ["listCollections"], 94):
        worker = start_worker(start_timeout_s="1")
        assert await asyncio.to_thread(worker.exit_code) == ExitCode.UNREACHABLE
    assert "NotYetInitialized (94)" in worker.error()


def _told(url: str, code: int) -> bool:
    status, body = fetch(url)
    return status == 503 and f"({code})" in body


def _logged(worker: WorkerProcess, words: str) -> bool:
    return any(words in line for line in worker.lines())
