"""Log files damaged on a broker's disk: it serves what it can, and the worker reads around the rest."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.kafka import damage
from tests.support.ingest import options, records, running, send
from tests.support.kafka import all_durable, durable, events, gaps, ids, in_time_s, make_topic, stored_ids
from tests.support.waiting import until
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.apache.node import Node
from worker.storage.database import Database

# Each leaves the batch as long as it was.
DAMAGES = (damage.wrong_checksum, damage.unknown_codec, damage.not_compressed_as_said)


def segment(node: Node, topic: str, partition: int) -> Path:
    """The file with the first records of a partition."""
    return node.folder / "data" / f"{topic}-{partition}" / f"{0:020}.log"


def change_batch(file: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Replace one batch of a segment file, counted from 0."""
    batches = damage.split(file.read_bytes())
    changed = change(batches[number])
    assert len(changed) == len(batches[number])
    assert changed != batches[number]
    batches[number] = changed
    file.write_bytes(b"".join(batches))


async def test_batches_damaged_in_their_files_are_gaps_of_exact_range_and_the_rest_is_stored_in_time(
    database: Database, own_broker: ApacheKafka
) -> None:
    kafka, [node] = own_broker.bootstrap_servers, own_broker.nodes
    topic = await make_topic(kafka, 4)
    before, lost, after = events(40), events(28), events(20)
    for number in range(4):
        parts = before[number::4], lost[number::4], after[number::4]
        await damage.send_batches(kafka, topic, number, [records(part) for part in parts])
    node.stop()
    for number, broken in enumerate(DAMAGES, start=1):
        change_batch(segment(node, topic, number), 1, broken)
    await own_broker.restart(node)
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(4)
        began = time.monotonic()
        await ingest.until_processed(67)
        took = time.monotonic() - began
        await until(all_durable(kafka, topic, 4), "the end is durable")
        assert ingest.value("gap_records_total", reason="undecodable") == 3
    assert await gaps(database) == [("undecodable", number, 10, 16) for number in (1, 2, 3)]
    assert await stored_ids(database) == ids(before, lost[0::4], after)
    assert took <= in_time_s()


async def test_a_broker_that_lost_the_tail_of_its_log_gets_new_records_read(
    database: Database, own_broker: ApacheKafka
) -> None:
    kafka, [node] = own_broker.bootstrap_servers, own_broker.nodes
    topic = await make_topic(kafka)
    old, new = events(30), events(12)
    batches = [records(old[:10]), records(old[10:20]), records(old[20:])]
    async with running(database, options(kafka, topic)) as ingest:
        await damage.send_batches(kafka, topic, 0, batches)
        await ingest.until_processed(30)
        await until(all_durable(kafka, topic, 1), "the end is durable")
        node.kill()
        # What a power failure does to pages not yet on disk: the recovery cuts the log behind the last whole batch.
        file = segment(node, topic, 0)
        change_batch(file, 1, damage.wrong_checksum)
        await own_broker.restart(node)
        [(partition, offset), *_] = await send(kafka, topic, records(new, partition=0))
        assert (partition, offset) == (0, 10)
        await until(lambda: ingest.outcome("stored") == 42, "the new records are stored")
        await until(all_durable(kafka, topic, 1), "the end is durable")
    assert await durable(kafka, topic, 1) == [22]
    [(reason, *_)] = await gaps(database)
    assert reason == "log_restarted"
    await assert_exactly_once(database, [*old, *new])
