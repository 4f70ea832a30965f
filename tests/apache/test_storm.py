"""Rebalances and broker crashes under load: every record is stored once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from tests.apache.fleet import GROUP, LIMIT_S, Fleet, Worker, fleet
from tests.apache.load import Load
from tests.conftest import RunningMongo
from tests.support.waiting import until
from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.storage.database import Database
from worker.timing import SystemClock

PER_S = 2_000
INTRUSIONS = 10  # each is two rebalances; the broker dies after every second one
_CLOCK = SystemClock()
LEAST_BETWEEN = 300  # records published, and records processed, between two blows


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[ApacheKafka]:
    """One of our own, to be killed."""
    kafka = await start_apache(tmp_path)
    try:
        yield kafka
    finally:
        kafka.stop()


async def test_twenty_rebalances_and_five_broker_crashes_lose_nothing_and_double_nothing(
    tmp_path: Path, database: Database, mongodb: RunningMongo, broker: ApacheKafka
) -> None:
    servers = broker.bootstrap_servers
    async with (
        fleet(tmp_path, database, mongodb.uri, servers) as ours,
        Load(servers, ours.topic, seed=7_000, per_s=PER_S) as load,
    ):
        pair = [ours.start("first"), ours.start("second")]
        await ours.owned_by(*pair)
        began, before = _CLOCK.monotonic(), load.acknowledged
        for number in range(INTRUSIONS):
            await flowing(load, pair)
            async with AsyncExitStack() as membership:
                async with rebalance(load, pair):
                    await membership.enter_async_context(intruder(ours))
                await flowing(load, pair)
                async with rebalance(load, pair):
                    await membership.aclose()
            if number % 2:
                await flowing(load, pair)
                await die_and_come_back(broker, load)
        await ours.owned_by(*pair)
        in_hand = [await worker.metric("drain_duration_seconds_count", cause="revoke") for worker in pair]
        seconds = _CLOCK.monotonic() - began
        print(f"{(load.acknowledged - before) / seconds:,.0f} of {PER_S:,} records/s for {seconds:.0f} s")  # noqa: T201 - shown by -rP
        await load.stop()
        await ours.drained(load)
        assert await ours.stop_all(*pair) == [0, 0]

        assert sum(in_hand) > 0, "no rebalance came while a batch was in hand"
        assert await ours.wrong(load) == []
        assert (await ours.verified()).finding_counts == {}


async def flowing(load: Load, workers: list[Worker]) -> None:
    """Wait until records were published and processed since the last blow."""
    published = load.acknowledged
    processed = sum([await worker.processed() for worker in workers])

    async def flows() -> bool:
        for worker in workers:
            worker.process.require_alive()
        now = sum([await worker.processed() for worker in workers])
        return load.acknowledged >= published + LEAST_BETWEEN and now >= processed + LEAST_BETWEEN

    await until(flows, "records to flow", LIMIT_S)


@asynccontextmanager
async def rebalance(load: Load, workers: list[Worker]) -> AsyncIterator[None]:
    """Leave once every worker gave all it had away and took its new share, and records came meanwhile."""
    published, before = load.acknowledged, [await worker.rebalances() for worker in workers]
    yield

    async def done() -> bool:
        now = [await worker.rebalances() for worker in workers]
        moved = all(after >= earlier + 2 for earlier, after in zip(before, now, strict=True))
        return moved and load.acknowledged > published

    await until(done, "a rebalance of all", LIMIT_S)


@asynccontextmanager
async def intruder(ours: Fleet) -> AsyncIterator[None]:
    """A member that takes partitions away, reads nothing and commits nothing, and gives them back."""
    consumer = AIOKafkaConsumer(
        ours.topic,
        bootstrap_servers=ours.bootstrap_servers,
        group_id=GROUP,
        enable_auto_commit=False,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=60_000,
    )
    await consumer.start()
    try:
        await until(lambda: len(consumer.assignment()) > 0, "the intruder to get partitions", LIMIT_S)
        yield
    finally:
        await consumer.stop()


async def die_and_come_back(broker: ApacheKafka, load: Load) -> None:
    """SIGKILL to the broker while records are on their way to it; start it again."""
    await until(lambda: load.in_flight > 0, "records in flight", LIMIT_S)
    broker.nodes[0].kill()
    assert load.in_flight > 0
    await broker.restart(broker.nodes[0])
