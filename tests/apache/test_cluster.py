"""Apache Kafka in the dev stack: what it was given outlives its processes."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.devstack.servers.process import StartFailed
from worker.devstack.servers.topics import create_topic


async def publish(servers: str, values: Sequence[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait("kept", value, partition=0)
    finally:
        await producer.stop()


async def read(servers: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer("kept", bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_killed_broker_comes_back_with_all_its_records(tmp_path: Path) -> None:
    kafka = await start_apache(tmp_path)
    try:
        await create_topic(kafka.bootstrap_servers, "kept", 1)
        await publish(kafka.bootstrap_servers, [b"one", b"two"])
        kafka.nodes[0].kill()
        with pytest.raises(StartFailed, match="exit code -9"):
            kafka.require_alive()
        await kafka.restart(kafka.nodes[0])
        await publish(kafka.bootstrap_servers, [b"three"])
        assert await read(kafka.bootstrap_servers, 3) == [b"one", b"two", b"three"]
    finally:
        kafka.stop()
    assert kafka.nodes[0].running.returncode == 128 + signal.SIGTERM


async def test_three_brokers_serve_on_when_any_one_is_gone(tmp_path: Path) -> None:
    kafka = await start_apache(tmp_path, nodes=3)
    try:
        await create_topic(kafka.bootstrap_servers, "kept", 1, replicas=3)
        await publish(kafka.bootstrap_servers, [b"0"])
        for number, node in enumerate(kafka.nodes, start=1):
            node.kill()
            others = ",".join(each.address for each in kafka.nodes if each is not node)
            await publish(others, [b"%d" % number])
            assert await read(others, number + 1) == [b"%d" % each for each in range(number + 1)]
            await _rejoined(kafka, node.number)
    finally:
        kafka.stop()


async def _rejoined(kafka: ApacheKafka, number: int) -> None:
    """Start the node again and wait until it has all copies: the next one may die then."""
    await kafka.restart(kafka.nodes[number - 1])
    await kafka.in_sync("kept")
