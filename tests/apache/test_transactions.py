"""Transactions: what was aborted never happened, what is still open is waited for, and markers are no lag."""

from collections.abc import Sequence

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import RunningIngest, Sent, options, records, running, send
from tests.support.kafka import all_durable, ends, events, make_topic, producing, stored_ids
from tests.support.waiting import until
from worker.storage.database import Database

EACH = 1_000
TRANSACTIONS = 20


def lag(ingest: RunningIngest, partition: int) -> float:
    return ingest.value("kafka_consumer_lag_records", topic=ingest.topic, partition=str(partition))


async def until_nothing_lags(ingest: RunningIngest, kafka: str, partitions: int) -> None:
    await until(all_durable(kafka, ingest.topic, partitions), "the offset behind the last marker is durable")
    await until(lambda: not any(lag(ingest, n) for n in range(partitions)), "no partition lags")


async def publish_interleaved(kafka: str, topic: str, kept: Sequence[Sent], dropped: Sequence[Sent]) -> None:
    """Two producers with a transaction open each, in the same partitions at the same time; one always aborts."""
    share = len(kept) // TRANSACTIONS
    async with (
        producing(kafka, transactional_id=f"kept-{topic}") as committing,
        producing(kafka, transactional_id=f"dropped-{topic}") as aborting,
    ):
        for start in range(0, len(kept), share):
            await committing.begin_transaction()
            await aborting.begin_transaction()
            for one, other in zip(kept[start : start + share], dropped[start : start + share], strict=True):
                await committing.send(topic, one.value, key=one.key, partition=one.partition)
                await aborting.send(topic, other.value, key=other.key, partition=other.partition)
            await aborting.flush()
            await committing.commit_transaction()
            await aborting.abort_transaction()


async def test_of_1000_committed_and_1000_aborted_records_exactly_1000_are_stored(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 2)
    committed, aborted = events(EACH), events(EACH)
    kept, dropped = (
        [record for n, fields in enumerate(published) for record in records([fields], partition=n % 2)]
        for published in (committed, aborted)
    )
    async with running(database, options(kafka, topic)) as ingest:
        await publish_interleaved(kafka, topic, kept, dropped)
        await ingest.until_processed(EACH)
        await until_nothing_lags(ingest, kafka, 2)
        assert (ingest.consumed(), ingest.outcome("stored")) == (EACH, EACH)
    # Aborted records stand in the log, and each transaction left a marker in each partition.
    assert sum(await ends(kafka, topic, 2)) == 2 * EACH + 2 * 2 * TRANSACTIONS
    await assert_exactly_once(database, committed)
    assert await database.dead_letters.count_documents({}) == 0


async def test_a_log_of_nothing_but_aborted_records_is_read_to_its_end_and_not_again(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 1)
    async with producing(kafka, transactional_id=f"dropped-{topic}") as producer:
        await producer.begin_transaction()
        for record in records(events(50), partition=0):
            await producer.send(topic, record.value, key=record.key, partition=0)
        await producer.abort_transaction()
    async with running(database, options(kafka, topic)) as ingest:
        await until_nothing_lags(ingest, kafka, 1)
        assert ingest.consumed() == 0
    assert await stored_ids(database) == set()


@pytest.mark.parametrize("committed", [True, False])
async def test_an_open_transaction_holds_its_partition_back_and_no_other(
    database: Database, kafka: str, committed: bool
) -> None:
    topic = await make_topic(kafka, 2)
    opened, behind, elsewhere = events(5), events(7), events(9)
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_assigned(2)
        async with producing(kafka, transactional_id=f"open-{topic}") as producer:
            await producer.begin_transaction()
            for record in records(opened):
                await (await producer.send(topic, record.value, key=record.key, partition=0))
            await send(kafka, topic, records(behind, partition=0) + records(elsewhere, partition=1))
            await ingest.until_processed(9)
            await until(lambda: lag(ingest, 0) == 12, "what is held back shows as lag")
            assert ingest.consumed() == 9
            await (producer.commit_transaction() if committed else producer.abort_transaction())
        await ingest.until_processed(21 if committed else 16)
        await until_nothing_lags(ingest, kafka, 2)
    await assert_exactly_once(database, [*(opened if committed else []), *behind, *elsewhere])
