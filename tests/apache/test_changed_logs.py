"""Logs that change under a reader: records deleted, partitions added, a topic deleted and made again."""

from dataclasses import replace

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.integration.kafka.damage import send_batches
from tests.integration.storage.fences import failpoint
from tests.support.ingest import options, records, running, send, with_kafka
from tests.support.kafka import (
    add_partitions,
    all_durable,
    delete_records,
    delete_topic,
    durable,
    events,
    gaps,
    ids,
    make_topic,
    stored_ids,
)
from tests.support.waiting import until
from worker.ingest.options import IngestOptions
from worker.settings import StartPolicy
from worker.storage.database import Database


def quick(chosen: IngestOptions) -> IngestOptions:
    """Look for changes of the topic every second instead of twice a minute."""
    return replace(chosen, consumer=replace(chosen.consumer, security={"metadata_max_age_ms": 1_000}))


def batch_by_batch(chosen: IngestOptions, size: int) -> IngestOptions:
    """Fetch one record batch at a time (a broker returns one at least) and take it as one batch."""
    small = with_kafka(chosen, fetch_bytes=1)
    return replace(small, consumer=replace(small.consumer, max_records=size))


# ---- records deleted ----


async def test_records_deleted_while_no_worker_ran_are_a_gap_of_exactly_their_range(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 2)
    published, elsewhere = events(40), events(10)
    chosen = options(kafka, topic)
    async with running(database, chosen) as before:
        await send(kafka, topic, records(published[:10], partition=1) + records(elsewhere, partition=0))
        await before.until_processed(20)
    await send(kafka, topic, records(published[10:], partition=1))
    await delete_records(kafka, topic, 1, before=30)
    async with running(database, chosen) as after:
        await after.until_processed(10)
        assert after.value("gap_records_total", reason="retention") == 1
    assert await gaps(database) == [("retention", 1, 10, 29)]
    await assert_exactly_once(database, [*published[:10], *published[30:], *elsewhere])
    assert await durable(kafka, topic, 2) == [10, 40]


async def test_records_deleted_under_a_reader_that_is_behind_are_a_gap_and_reading_goes_on(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka)
    batches = [events(10) for _ in range(10)]
    async with running(database, batch_by_batch(options(kafka, topic), 10)) as ingest:
        await ingest.until_assigned(1)
        async with failpoint(database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
            await send_batches(kafka, topic, 0, [records(batch) for batch in batches])
            await hanging.until_hit()
            await delete_records(kafka, topic, 0, before=77)
        await until(lambda: ingest.value("gap_records_total", reason="retention") == 1, "a gap")
        await until(all_durable(kafka, topic, 1), "the end is durable")
    [(reason, partition, first, last)] = await gaps(database)
    assert (reason, partition, last) == ("retention", 0, 76)
    # What had been fetched before the deletion was stored: the gap begins right behind it.
    assert first % 10 == 0
    kept = [fields for batch in batches for fields in batch]
    assert await stored_ids(database) == ids(kept[:first], kept[77:])
    await assert_exactly_once(database, [*kept[:first], *kept[77:]])


async def test_a_log_emptied_by_deletion_is_a_gap_up_to_its_end(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka)
    lost, later = events(25), events(3)
    await send(kafka, topic, records(lost, partition=0))
    chosen = options(kafka, topic)
    async with running(database, chosen) as first:
        await first.until_processed(25)
    await send(kafka, topic, records(events(25), partition=0))
    await delete_records(kafka, topic, 0, before=-1)  # up to the end
    async with running(database, chosen) as ingest:
        await until(lambda: ingest.value("gap_records_total", reason="retention") == 1, "a gap")
        await until(all_durable(kafka, topic, 1), "the end is durable")
        await send(kafka, topic, records(later, partition=0))
        await ingest.until_processed(3)
    assert await gaps(database) == [("retention", 0, 25, 49)]
    await assert_exactly_once(database, [*lost, *later])


# ---- partitions added ----


@pytest.mark.parametrize("policy", ["earliest", "latest"])
async def test_partitions_added_while_consuming_are_read_from_their_begin_and_show_in_metrics(
    database: Database, kafka: str, policy: str
) -> None:
    topic = await make_topic(kafka, 2)
    early, late = events(20), events(60)
    chosen = quick(options(kafka, topic, start_policy=StartPolicy(policy)))
    async with running(database, chosen) as ingest:
        await ingest.until_assigned(2)
        await send(kafka, topic, [r for n, f in enumerate(early) for r in records([f], partition=n % 2)])
        await ingest.until_processed(20)
        await add_partitions(kafka, topic, 6)
        # Before the worker has heard of them.
        await send(kafka, topic, [r for n, f in enumerate(late) for r in records([f], partition=n % 6)])
        await ingest.until_processed(80)
        await ingest.until_assigned(6)
        await until(all_durable(kafka, topic, 6), "the end is durable")
        lags = [("kafka_consumer_lag_records", str(number)) for number in range(6)]
        await until(
            lambda: all(
                ingest.metrics.registry.get_sample_value(
                    f"sevenp_worker_{name}", {"topic": topic, "partition": number}
                )
                == 0
                for name, number in lags
            ),
            "each partition has a lag, and it is 0",
        )
    await assert_exactly_once(database, [*early, *late])


async def test_partitions_added_under_load_with_two_workers_lose_and_double_nothing(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 2)
    published = events(900)
    chosen = quick(options(kafka, topic))
    async with running(database, chosen) as one, running(database, chosen) as two:
        await until(
            lambda: (
                one.value("kafka_assigned_partitions", topic=topic) == 1
                and two.value("kafka_assigned_partitions", topic=topic) == 1
            ),
            "both have a partition",
        )
        for turn, partitions in enumerate((2, 3, 5, 8, 8, 8)):
            part = published[turn * 150 : (turn + 1) * 150]
            await send(
                kafka, topic, [r for n, f in enumerate(part) for r in records([f], partition=n % partitions)]
            )
            if turn < 3:
                await add_partitions(kafka, topic, (3, 5, 8)[turn])
        await until(lambda: one.outcome("stored") + two.outcome("stored") == 900, "all are stored")
        await until(all_durable(kafka, topic, 8), "the end is durable")
        assert one.value("gap_records_total", reason="retention") == 0
    await assert_exactly_once(database, published)
    assert await gaps(database) == []


async def test_where_reading_began_at_the_end_nothing_is_skipped_at_the_next_start(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka)
    before, meanwhile = events(10), events(5)
    await send(kafka, topic, records(before, partition=0))
    chosen = options(kafka, topic, start_policy=StartPolicy.LATEST)
    async with running(database, chosen) as first:
        await first.until_assigned(1)
    await send(kafka, topic, records(meanwhile, partition=0))
    async with running(database, chosen) as second:
        await second.until_processed(5)
    await assert_exactly_once(database, meanwhile)


# ---- a topic made again ----


@pytest.mark.parametrize("count", [15, 80])
async def test_a_topic_deleted_and_made_again_while_consuming_is_read_from_its_begin(
    database: Database, kafka: str, count: int
) -> None:
    topic = await make_topic(kafka, 2)
    old, new = events(50), events(count)
    async with running(database, quick(options(kafka, topic))) as ingest:
        await send(kafka, topic, records(old, partition=1))
        await ingest.until_processed(50)
        await delete_topic(kafka, topic)
        await make_topic(kafka, 2, name=topic)
        await send(kafka, topic, records(new, partition=1))
        await until(lambda: ingest.outcome("stored") == 50 + count, "the new records are stored")
        await until(all_durable(kafka, topic, 2), "the end is durable")
    await assert_exactly_once(database, [*old, *new])
