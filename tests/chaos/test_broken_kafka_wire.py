"""A worker whose way to Kafka breaks under load: it stays alive, goes on by itself, and misses nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.breaks import Break, going_through, half_open, lag, refuse, reset, swallow
from tests.chaos.proxy import Proxy, proxied
from tests.chaos.running_worker import settings, working
from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.kafka import damage
from worker.storage.database import Database
from worker.verify.run import verify

# The group must not wait longer for a member that says nothing than the way is broken (`AWAY_S`).
SESSION_TIMEOUT_MS = 6_000


@asynccontextmanager
async def way_to(kafka: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the broker, and the address that leads through it: clients are told of no other."""
    async with damage.proxied(kafka) as readdressed, proxied(readdressed.port) as proxy:
        readdressed.advertised_port = proxy.port
        yield proxy, f"127.0.0.1:{proxy.port}"


@pytest.mark.parametrize("breaks", [refuse, reset, half_open, swallow, lag])
@pytest.mark.long
async def test_a_broken_way_to_kafka_costs_time_and_nothing_else(
    database: Database,
    mongodb: RunningMongo,
    kafka: str,
    topic: str,
    tmp_path: Path,
    breaks: Break,
) -> None:
    async with way_to(kafka) as (proxy, address):
        chosen = {
            **settings(mongodb.uri, database, address, topic),
            "SEVENP_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
        }
        async with (
            working(chosen, tmp_path / "worker.log") as worker,
            going_through(breaks, proxy, worker, database, kafka) as published,
        ):
            assert proxy.to_client.passed_bytes > 0
            assert proxy.cuts or proxy.to_client.dropped_bytes or breaks in (swallow, lag)
    await assert_exactly_once(database, published, voids=None)
    assert (await verify(database, quiescent=True)).finding_counts == {}
