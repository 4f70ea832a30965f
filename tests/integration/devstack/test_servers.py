"""The embedded servers start, answer, and leave nothing behind."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from pymongo import AsyncMongoClient

from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import start_mongod
from worker.devstack.servers.process import StartFailed, spawn, wait_for_port
from worker.devstack.servers.topics import create_topic, topic_ends


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_mongod_is_a_primary_that_accepts_majority_writes_and_stops(tmp_path: Path) -> None:
    mongod = await start_mongod(tmp_path)
    try:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongod.uri, w="majority", journal=True)
        async with client:
            await client.demo.things.insert_one({"a": 1})
            assert await client.demo.things.count_documents({}) == 1
            assert (await client.server_info())["versionArray"][:2] == [6, 0]
    finally:
        mongod.stop()
    assert not is_running(mongod.process.pid)


async def test_a_topic_is_created_once(tmp_path: Path) -> None:
    broker = await start_broker(tmp_path)
    try:
        assert await create_topic(broker.bootstrap_servers, "events", 4)
        assert not await create_topic(broker.bootstrap_servers, "events", 4)
    finally:
        broker.stop()
    assert not is_running(broker.process.pid)


async def test_a_server_that_ends_at_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="no_such_parameter"):
        await start_mongod(tmp_path, parameters=["no_such_parameter=1"])


async def test_a_server_that_never_listens_is_reported_with_its_log(tmp_path: Path) -> None:
    program = [sys.executable, "-uc", "print('I am lazy'); import time; time.sleep(60)"]
    process = spawn("lazy", program, tmp_path / "lazy.log")
    try:
        await asyncio.to_thread(wait_until_logged, process.log, "lazy")
        with pytest.raises(StartFailed, match="I am lazy"):
            await wait_for_port(process, port=1, limit_s=0.1)
    finally:
        process.stop()


def test_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, signal, sys\n"
        "from worker.devstack.servers.broker import start_broker\n"
        "broker = asyncio.run(start_broker(pathlib.Path(sys.argv[1])))\n"
        "print(broker.process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - this file's own program
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    descriptor = os.pidfd_open(child) if is_running(child) else None
    if descriptor is not None:
        wait_for_exit(descriptor)


def wait_for_exit(descriptor: int, limit_s: float = 30.0) -> None:
    """Fail unless the process behind the pidfd ends within the limit."""
    try:
        readable, _, _ = select.select([descriptor], [], [], limit_s)
        assert readable, "the server outlived its parent"
    finally:
        os.close(descriptor)


def wait_until_logged(log: Path, text: str, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while text not in log.read_text():
        assert time.monotonic() < end


async def test_a_topic_ends_where_its_next_record_will_be_and_not_where_its_last_batch_begins(
    kafka: str, topic: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=False)
    async with producer:
        for _ in range(2):
            batch = producer.create_batch()
            for _ in range(3):
                batch.append(key=None, value=b"{}", timestamp=None)
            await (await producer.send_batch(batch, topic, partition=1))
    assert await topic_ends(kafka, topic) == {0: 0, 1: 6, 2: 0, 3: 0}
