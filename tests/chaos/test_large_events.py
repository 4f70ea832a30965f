"""Events of 60 kB each, in every shape that takes more memory than bytes: ingest stays within its 256 MiB."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.chaos.running_worker import settings, working
from tests.chaos.test_slow_sink import PEAK_MIB, peak_mib
from tests.conftest import RunningMongo
from tests.support.ingest import Sent, event, records
from tests.support.waiting import until
from worker.storage.database import Database

EVENTS = 600

# About 60 kB of JSON each.
SHAPES: Mapping[str, Any] = {
    "text": {"text": "x" * 60_000},
    "numbers": {"numbers": [1.5, 25] * 8_500},
    "lists": {"lists": [[]] * 20_000},
}


async def publish(kafka: str, topic: str, sent: list[Sent], compression: str | None) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, linger_ms=20, compression_type=compression, max_batch_size=900_000
    ) as producer:
        for each in sent:
            await producer.send(topic, each.value, key=each.key)
        await producer.flush()


@pytest.mark.parametrize(("shape", "compression"), [("text", None), ("numbers", "gzip"), ("lists", "gzip")])
@pytest.mark.long
async def test_large_events_are_stored_within_the_memory_that_is_promised(
    database: Database,
    mongodb: RunningMongo,
    kafka: str,
    topic: str,
    tmp_path: Path,
    shape: str,
    compression: str | None,
) -> None:
    published = [event(number % 50, details=SHAPES[shape]) for number in range(EVENTS)]
    await publish(kafka, topic, records(published), compression)
    chosen = {
        **settings(mongodb.uri, database, kafka, topic),
        "SEVENP_ROLES": "ingest",
        "SEVENP_INGEST_MAX_RECORDS": "5000",  # so that bytes decide
    }
    async with working(chosen, tmp_path / "worker.log") as worker:

        async def stored() -> bool:
            worker.process.require_alive()
            return await worker.sum("events_processed_total", 'outcome="stored"') >= EVENTS

        await until(stored, "all events are stored", 240.0)
        peak = peak_mib(worker)
    print(f"{shape}, {compression}: peak {peak:.0f} MiB")  # noqa: T201 - shown by -rP
    assert peak <= PEAK_MIB
