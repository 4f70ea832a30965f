"""The Kafka channel against a real broker that refuses, stands still, goes away and returns."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from tests.integration.notify.wire import Wire
from tests.support.notify import notifying, row, write
from tests.support.settings import changed
from tests.support.waiting import LIMIT_S, until
from worker.devstack.servers.broker import broker_binary
from worker.devstack.servers.process import ServerProcess, free_port, spawn, wait_for_port
from worker.devstack.servers.topics import create_topic
from worker.notify.delivery import Sender
from worker.notify.message import message_of
from worker.notify.senders.kafka import KafkaSender
from worker.notify.senders.log import LogSender
from worker.settings import KafkaSettings, NotifySettings
from worker.storage.database import Database
from worker.timing import SystemClock

TOPIC = "notifications"
PARTITIONS = 2


class BrokerHouse:
    """A broker of this test alone behind a wire, so that it can go away and return with its records.

    The embedded broker keeps them in memory: after a real death its topic is gone with them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.wire = Wire(free_port(), self.port)
        self.process: ServerProcess | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.wire.port}"

    async def open(self) -> None:
        """Start the broker, which calls itself by the wire's port, and make the topic."""
        self.folder.mkdir()
        command = [broker_binary(), "broker", "--listener-url", f"tcp://127.0.0.1:{self.port}"]
        command += [
            "--advertised-listener-url",
            f"tcp://{self.servers}",
            "--storage-engine",
            "memory://tansu/",
        ]
        self.process = spawn("broker", command, self.folder / "broker.log")
        await wait_for_port(self.process, self.port, LIMIT_S)
        await self.wire.mend()
        await create_topic(self.servers, TOPIC, partitions=PARTITIONS)

    async def kill(self) -> None:
        """End the broker for good."""
        if self.process is not None:
            await asyncio.to_thread(self.process.stop)

    async def close(self) -> None:
        await self.wire.cut()
        await self.kill()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BrokerHouse]:
    house = BrokerHouse(tmp_path / "broker")
    try:
        await house.open()
        yield house
    finally:
        await house.close()


def topic_sender(servers: str, *, idempotent: bool = False, request_limit_s: float = 10.0) -> KafkaSender:
    # The embedded broker knows no idempotent producers.
    settings = changed(
        NotifySettings(), kafka_topic=TOPIC, kafka_idempotent=idempotent, send_timeout_s=request_limit_s
    )
    return KafkaSender(settings, KafkaSettings(bootstrap_servers=servers), SystemClock())


async def records(servers: str, enough: Callable[[list[ConsumerRecord]], bool]) -> list[ConsumerRecord]:
    """Everything in the topic once it is `enough`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest")
    async with consumer:
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[ConsumerRecord] = []

        async def holds() -> bool:
            for fetched in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(fetched)
            return enough(found)

        await until(holds, "the records stand in the topic")
        return found


async def test_every_row_becomes_one_record_with_its_key_as_a_header(
    database: Database, house: BrokerHouse
) -> None:
    rows = [row(number) for number in range(100)]
    await write(database, rows)
    async with notifying(database, {"kafka": topic_sender(house.servers)}) as running:
        await running.until_status("sent", 100)
    found = await records(house.servers, lambda found: len(found) >= 100)
    wanted = Counter((each["_id"], message_of(each).body, str(each["user_id"])) for each in rows)
    got = Counter(
        (dict(record.headers)["idempotency-key"].decode(), record.value, record.key.decode())
        for record in found
    )
    assert got == wanted


async def test_rows_wait_for_a_broker_that_refuses_and_other_channels_go_on(
    database: Database, house: BrokerHouse
) -> None:
    senders: dict[str, Sender] = {
        "kafka": topic_sender(house.servers, request_limit_s=2.0),
        "log": LogSender(SystemClock()),
    }
    routes = {"completion": "kafka", "welcome": "log"}
    async with notifying(database, senders, routes) as running:
        keys = await write(database, [row(number) for number in range(10)])
        await running.until_status("sent", 10)
        await house.wire.cut()
        keys += await write(database, [row(number) for number in range(10, 40)])
        await write(database, [row(number, "welcome") for number in range(30)])
        await running.until(lambda: running.count("sent", "welcome") == 30, "the log has its rows")
        await running.until(lambda: running.count("deferred") >= 3, "attempts at the absent broker")
        await running.until_unsent(30)
        await house.wire.mend()
        await running.until_status("sent", 70)
        found = await records(house.servers, lambda found: len(found) >= 40)
    assert Counter(dict(record.headers)["idempotency-key"].decode() for record in found) == Counter(keys)


@pytest.mark.slow
async def test_rows_wait_for_a_broker_that_is_killed(database: Database, house: BrokerHouse) -> None:
    async with notifying(database, {"kafka": topic_sender(house.servers, request_limit_s=2.0)}) as running:
        await write(database, [row(0)])
        await running.until_status("sent", 1)
        await house.kill()
        await write(database, [row(number) for number in range(1, 21)])
        await running.until(lambda: running.count("deferred") >= 3, "attempts at the dead broker")
        await running.until_unsent(20)
        assert running.count("sent") == 1


async def test_a_broker_that_stands_still_for_a_while_gets_each_key_once(
    database: Database, house: BrokerHouse
) -> None:
    async with notifying(
        database, {"kafka": topic_sender(house.servers, request_limit_s=LIMIT_S)}
    ) as running:
        await write(database, [row(0)])
        await running.until_status("sent", 1)
        house.wire.hold()
        await write(database, [row(number) for number in range(1, 20)])
        await running.until_status("taken", 19)
        claimed = await database.notifications.find_one({"status": "taken"})
        assert claimed is not None

        async def renewed() -> bool:
            again = await database.notifications.find_one({"_id": claimed["_id"]})
            return again is not None and again["lease_until"] > claimed["lease_until"]

        await running.until(renewed, "the lease of a send under way is renewed")
        house.wire.let_go()
        await running.until_status("sent", 20)
        assert running.count("deferred") == 0
    found = await records(house.servers, lambda found: len(found) >= 20)
    assert len({dict(record.headers)["idempotency-key"] for record in found}) == len(found) == 20


async def test_a_broker_without_idempotent_producers_is_named_with_the_setting_that_helps(
    database: Database, house: BrokerHouse
) -> None:
    await write(database, [row(1)])
    async with notifying(database, {"kafka": topic_sender(house.servers, idempotent=True)}) as running:
        await running.until(lambda: running.count("deferred") >= 1, "an attempt")
        stored = await database.notifications.find_one({})
        assert stored is not None
        assert "SEVENP_NOTIFY_KAFKA_IDEMPOTENT" in stored["last_error"]
