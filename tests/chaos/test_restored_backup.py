"""The drill of docs/backup.md: a copy of mongod's data files is put back, and all since comes back from Kafka."""

import asyncio
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.running_worker import PARTITIONS, RunningWorker, settings, working
from tests.chaos.traffic import Traffic, traffic
from tests.oracle.case import Case
from tests.oracle.check import check_case
from tests.oracle.kafka import read_log
from tests.oracle.stored import read_stored
from tests.support.waiting import until
from worker.devstack.demo.platform_writes import write_platform
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.process import free_port
from worker.devstack.servers.topics import create_topic
from worker.devstack.simulator.simulation import simulate
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.storage.database import Client, Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.timing import SystemClock
from worker.verify.run import verify

SEED, RECORDS = 7, 3_000
PREFIX = "restored"


async def publish(kafka: str, topic: str, records: Sequence[OutgoingRecord]) -> None:
    async with Publisher(kafka, topic, clock=SystemClock()) as publisher:
        await publisher.publish(records)


async def copy_files(client: Client, data: Path, backup: Path) -> None:
    """What an operator does with a snapshot of the volume: writes wait while the files are copied."""
    await client.admin.command({"fsync": 1, "lock": True})
    try:
        await asyncio.to_thread(shutil.copytree, data, backup)
    finally:
        await client.admin.command({"fsyncUnlock": 1})


async def command(environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run a command of the worker to its end; what it says as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "worker", *arguments, "--json"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, Any] = json.loads(said)
    return found


async def notified(kafka: str, topic: str) -> Counter[tuple[bytes | None, bytes | None]]:
    """How often each notification left, in equal bytes."""
    return Counter((record.key, record.value) for record in (await read_log(kafka, topic, "nobody")).records)


async def all_sent(database: Database) -> bool:
    return not await database.notifications.count_documents({"status": {"$in": ["pending", "taken"]}})


@dataclass(slots=True)
class Server:
    """A mongod of the drill's own, which is stopped and started on the same port, and a client of it."""

    folder: Path
    port: int
    mongod: Mongod
    client: Client

    @classmethod
    async def start(cls, folder: Path) -> "Server":
        port = free_port()
        mongod = await start_mongod(folder, port=port)
        return cls(folder, port, mongod, make_client(mongod.uri))

    @property
    def data(self) -> Path:
        return self.folder / "mongod"

    @property
    def database(self) -> Database:
        return open_database(self.client, PREFIX)

    async def restore(self, backup: Path) -> None:
        """Put the copy in the place of the data files."""
        await self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)
        self.mongod = await start_mongod(self.folder, port=self.port)
        self.client = make_client(self.mongod.uri)

    async def stop(self) -> None:
        await close(self.client)
        self.mongod.stop()


@pytest.mark.long
async def test_a_restored_copy_of_the_data_files_has_everything_again_and_nobody_is_told_twice(
    tmp_path: Path, kafka: str, topic: str
) -> None:
    published, told, backup = traffic(SEED, RECORDS), f"told-{topic}", tmp_path / "backup"
    records, half = len(published.records), len(published.records) // 2
    await create_topic(kafka, told, partitions=1)
    server = await Server.start(tmp_path / "server")
    environment = {
        **settings(server.mongod.uri, server.database, kafka, topic),
        "SEVENP_NOTIFY_ROUTES": "welcome=kafka,completion=kafka",
        "SEVENP_NOTIFY_KAFKA_TOPIC": told,
        "SEVENP_NOTIFY_KAFKA_IDEMPOTENT": "false",  # the embedded broker knows no such producers
    }
    try:
        await apply_schema(server.database)
        await write_platform(server.database, simulate(SEED, RECORDS).kept)
        async with working(environment, tmp_path / "first.log") as worker:
            await publish(kafka, topic, published.records[:half])
            await worker.until_quiescent(server.database, kafka, half)
            await until(partial(all_sent, server.database), "all are notified")
            await copy_files(server.client, server.data, backup)
            await publish(kafka, topic, published.records[half:])
            await worker.until_quiescent(server.database, kafka, records)
            await until(partial(all_sent, server.database), "all are notified")
        before = await notified(kafka, told)
        await server.restore(backup)
        async with working(environment, tmp_path / "second.log") as worker:
            await until(partial(says_missing, worker, records - half), "the worker sees what is missing")
            dry = await command(environment, "reingest", "--missing", "--dry-run")
            assert dry["outcome"]["records"] == records - half
            run = await command(environment, "reingest", "--missing")
            assert run["progress"]["done"] == records - half
            await until(partial(says_missing, worker, 0), "the worker sees that all is back")
            await worker.until_quiescent(server.database, kafka, records)
        assert "records_missing_in_mongodb" in (tmp_path / "second.log").read_text()
        await assert_equal_to_the_oracle(server, published)
        assert set(before.values()) == {1}
        assert await notified(kafka, told) == before
    finally:
        await server.stop()


async def says_missing(worker: RunningWorker, number: int) -> bool:
    worker.process.require_alive()
    shown = await worker.sum("kafka_missing_records")
    return await worker.sum("kafka_assigned_partitions") == PARTITIONS and shown == number


async def assert_equal_to_the_oracle(server: Server, published: Traffic) -> None:
    assert (await verify(server.database, quiescent=True)).findings == ()
    stored = await asyncio.to_thread(read_stored, server.mongod.uri, PREFIX)
    assert check_case(Case(stored, published.ledger)) == []
    assert [row for row in stored.notifications if row["status"] == "suppressed"]
    assert [each for each in stored.events if each["metadata"].get("origin") == "reingest"]
