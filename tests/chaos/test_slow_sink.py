"""MongoDB answers slowly for a long time: buffers stay within their bytes, memory stays flat, reading is paused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo.uri_parser import parse_uri

from tests.chaos.proxy import proxied
from tests.chaos.victim import until
from tests.chaos.whole import PARTITIONS, Whole, settings, working
from tests.conftest import RunningMongo
from tests.integration.ingest.kit import event, records, send
from tests.integration.ingest.ledger import assert_exactly_once
from worker.storage.database import Database

DELAY_S = 2.0
MAX_BYTES = 4_000_000
# 8 KB each: many times what may be held at once.
RECORDS = 4_000
LARGEST = 8_600
PEAK_MIB = 256
# Between the first batches and the last: what the allocator keeps, not what grows with the backlog.
GROWTH_MIB = 40


def memory_mib(worker: Whole, what: str) -> float:
    """`VmRSS`, or its peak `VmHWM`, of the worker's process."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def large(number: int) -> Mapping[str, Any]:
    return event(number % 50, event_type="question_asked", value=None, details={"text": "x" * 8_000})


async def test_a_slow_sink_pauses_reading_and_memory_stays_flat(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    published = [{k: v for k, v in large(number).items() if v is not None} for number in range(RECORDS)]
    await send(kafka, topic, records(published))
    [(_, port)] = parse_uri(mongodb.uri)["nodelist"]
    assert port is not None
    async with proxied(port) as proxy:
        chosen = {
            **settings(f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true", database, kafka, topic),
            "SEVENP_INGEST_MAX_RECORDS": "20000",
            "SEVENP_INGEST_MAX_BYTES": str(MAX_BYTES),
        }
        async with working(chosen, tmp_path / "worker.log") as worker:
            proxy.to_client.becomes("pass", delay_s=DELAY_S)
            held, paused = await watched(worker, batches=1)
            early = memory_mib(worker, "VmRSS")
            later = await watched(worker, batches=3)
            late, peak = memory_mib(worker, "VmRSS"), memory_mib(worker, "VmHWM")
            held, paused = max(held, later[0]), max(paused, later[1])
            limit = await worker.sum("buffer_limit_bytes", 'stage="ingest"')
            assert limit == MAX_BYTES
            # Records are taken a hundred at a time: the bytes are exceeded by less than that.
            assert 0 < held < limit + 100 * LARGEST
            assert paused == PARTITIONS
            assert await worker.sum("events_processed_total") < RECORDS
            assert late - early <= GROWTH_MIB
            assert peak <= PEAK_MIB
            assert (await worker.get("livez"))[0] == 200
            proxy.heal()
            await worker.until_settled(database, kafka, RECORDS)
    await assert_exactly_once(database, published)


async def watched(worker: Whole, batches: int) -> tuple[float, float]:
    """The most bytes held, and the most partitions paused, until so many more batches are done."""
    held = paused = 0.0
    goal = await worker.sum("ingest_batch_events_count") + batches

    async def done() -> bool:
        nonlocal held, paused
        worker.process.require_alive()
        held = max(held, await worker.sum("buffer_bytes", 'stage="ingest"'))
        paused = max(paused, await worker.sum("kafka_paused_partitions"))
        return await worker.sum("ingest_batch_events_count") >= goal

    await until(done, f"{batches} more batches")
    return held, paused
