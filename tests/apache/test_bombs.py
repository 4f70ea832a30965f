"""A batch that unpacks to gigabytes costs its own record: no memory, no time, no neighbour."""

import os
import time
from pathlib import Path

import pytest

from tests.apache.bombs import GZIP, LZ4, MIB, ZSTD, bomb
from tests.apache.worker import until_stored, watched
from tests.conftest import RunningMongo
from tests.support.ingest import records, send
from tests.support.kafka import (
    durable,
    ends,
    events,
    gaps,
    ids,
    in_time_s,
    make_topic,
    send_as_is,
    stored_ids,
)
from worker.storage.database import Database

PEAK_BYTES = 256 * MIB
GB = 1_000_000_000
# A megabyte that does not pack: with it the zstd bomb is one of 1 MB, and not of 60 KB.
_NOISE = os.urandom(MIB - 100_000)


@pytest.mark.parametrize(
    ("codec", "unpacked_bytes", "key"),
    [
        pytest.param(ZSTD, 2 * GB, _NOISE, id="zstd: 1 MB of 2 GB"),
        pytest.param(GZIP, 2 * GB, b"", id="gzip: 2 MB of 2 GB"),
        pytest.param(LZ4, GB // 4, b"", id="lz4: 1 MB of 250 MB, the most it can"),
    ],
)
async def test_a_bomb_the_broker_accepted_is_a_gap_and_the_next_record_is_stored_in_time(
    database: Database,
    mongodb: RunningMongo,
    kafka: str,
    tmp_path: Path,
    codec: int,
    unpacked_bytes: int,
    key: bytes,
) -> None:
    topic = await make_topic(kafka, 2, max_message_bytes=3 * MIB)
    before, after, elsewhere = events(10), events(5), events(20)
    batch = bomb(codec, unpacked_bytes, key)
    assert 900_000 < len(batch) < 2_200_000
    async with watched(tmp_path, database, mongodb, kafka, topic, 2) as worker:
        await send(kafka, topic, records(before, partition=0) + records(elsewhere, partition=1))
        await until_stored(database, 30)
        assert await send_as_is(kafka, topic, batch) == 10
        began = time.monotonic()
        await send(kafka, topic, records(after, partition=0))
        await until_stored(database, 35)
        took = time.monotonic() - began
        assert worker.value("gap_records_total", reason="undecodable") == 1
        peak = worker.peak_bytes()
    assert await gaps(database) == [("undecodable", 0, 10, 10)]
    assert await stored_ids(database) == ids(before, after, elsewhere)
    assert await durable(kafka, topic, 2) == await ends(kafka, topic, 2)
    assert took <= in_time_s()
    assert peak <= PEAK_BYTES
