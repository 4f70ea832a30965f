"""MongoDB answers slowly for a long time: buffers stay within their bytes, memory stays flat, reading is paused."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pymongo.uri_parser import parse_uri

from tests.chaos.proxy import proxied
from tests.chaos.running_worker import PARTITIONS, RunningWorker, settings, working
from tests.chaos.target import committed
from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, records, send
from tests.support.waiting import until
from worker.storage.database import Database

DELAY_S = 2.0
# Watched for so many batches of some 15 s each; 40 take ten minutes.
BATCHES = int(os.environ.get("SEVENP_TEST_SLOW_BATCHES", "4"))
BATCH_LIMIT_S = 60.0
# 8 KB each, 165 MB together or more: a worker that held them would exceed the peak.
RECORDS = max(20_000, 1_000 * BATCHES)
LARGEST = 8_600
PEAK_MIB = 256


def peak_mib(worker: RunningWorker) -> float:
    """The most memory the worker's process has had."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def large(number: int) -> dict[str, Any]:
    return event(number % 50, details={"text": "x" * 8_000})


@pytest.mark.parametrize("max_bytes", [4_000_000, 15_000_000])
@pytest.mark.long
async def test_a_slow_sink_pauses_reading_and_memory_stays_flat(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path, max_bytes: int
) -> None:
    published = [large(number) for number in range(RECORDS)]
    await send(kafka, topic, records(published))
    [(_, port)] = parse_uri(mongodb.uri)["nodelist"]
    assert port is not None
    async with proxied(port) as proxy:
        chosen = {
            **settings(f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true", database, kafka, topic),
            "SEVENP_INGEST_MAX_BYTES": str(max_bytes),
            "SEVENP_INGEST_MAX_RECORDS": "5000",  # so that bytes decide
        }
        async with working(chosen, tmp_path / "worker.log") as worker:
            proxy.to_client.becomes("pass", delay_s=DELAY_S)
            held, paused = await watched(worker, BATCHES)
            limit = await worker.sum("buffer_limit_bytes", 'stage="ingest"')
            assert limit == max_bytes
            # Records are taken a hundred at a time: each of two batches exceeds its bytes by less than that.
            assert limit / 4 < held < limit + 2 * 100 * LARGEST
            assert paused == PARTITIONS
            assert await worker.sum("events_processed_total") < RECORDS
            peak = peak_mib(worker)
            print(f"peak {peak:.0f} MiB with {max_bytes} bytes in hand")  # noqa: T201 - shown by -rP
            assert peak <= PEAK_MIB
            assert (await worker.get("livez"))[0] == 200
            proxy.heal()
    # Stopped in the middle: what is stored is there once, and it is what was acknowledged.
    stored = {str(one["_id"]) for one in await database.course_events.find({}, {"_id": 1}).to_list(None)}
    await assert_exactly_once(database, [each for each in published if each["event_id"] in stored])
    assert len(stored) == sum((await committed(kafka, topic, worker.group, PARTITIONS)).values()) > 0


async def watched(worker: RunningWorker, batches: int) -> tuple[float, float]:
    """The most bytes held, and the most partitions paused, until so many more batches are done."""
    held = paused = 0.0
    goal = await worker.sum("ingest_batch_events_count") + batches

    async def done() -> bool:
        nonlocal held, paused
        worker.process.require_alive()
        held = max(held, await worker.sum("buffer_bytes", 'stage="ingest"'))
        paused = max(paused, await worker.sum("kafka_paused_partitions"))
        return await worker.sum("ingest_batch_events_count") >= goal

    await until(done, f"{batches} more batches", BATCH_LIMIT_S * batches)
    return held, paused
