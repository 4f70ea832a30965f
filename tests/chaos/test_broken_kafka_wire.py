"""A whole worker whose way to Kafka breaks under load: it stays alive, goes on by itself, and misses nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.breaks import half_open, refuse, reset, swallow
from tests.chaos.proxy import Proxy, proxied
from tests.chaos.whole import flowing, settings, working
from tests.conftest import RunningMongo
from tests.integration.ingest import damage
from tests.integration.ingest.kit import event
from tests.integration.ingest.ledger import assert_exactly_once
from worker.replay.verify import verify
from worker.storage.database import Database

# Longer than the group waits for a member that says nothing (see `settings`).
SESSION_TIMEOUT_MS = 6_000
AWAY_S = 12.0
# Slow is not away: what a request takes stays below all deadlines.
SLOW_S = 0.5


def batch() -> list[dict[str, object]]:
    return [event(number % 40) for number in range(20)]


def lag(proxy: Proxy) -> None:
    """Every portion of bytes to the broker is late."""
    proxy.to_server.becomes("pass", delay_s=SLOW_S)


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
    breaks: Callable[[Proxy], None],
) -> None:
    async with way_to(kafka) as (proxy, address):
        chosen = {
            **settings(mongodb.uri, database, address, topic),
            "SEVENP_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
        }
        async with working(chosen, tmp_path / "worker.log") as worker:
            async with flowing(kafka, topic, batch) as published:
                await worker.until_processed(100)
                breaks(proxy)
                if breaks in (refuse, half_open, swallow):
                    await worker.until_status("readyz", 503)
                await worker.stays_alive(AWAY_S)
                if breaks is lag:
                    processed = int(await worker.sum("events_processed_total"))
                    assert processed >= 100
                    await worker.until_processed(processed + 1)
                    assert proxy.to_server.delayed_bytes > 0
            assert proxy.to_client.passed_bytes > 0
            assert proxy.cuts or proxy.to_client.dropped_bytes or breaks in (swallow, lag)
            proxy.heal()
            await worker.until_settled(database, kafka, len(published))
            await worker.until_status("readyz", 200)
    await assert_exactly_once(database, published, voids=None)
    assert (await verify(database, settled=True)).finding_counts == {}
