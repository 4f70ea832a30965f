"""Compressed batches: as this language's producers pack them, and as Java packs them."""

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import options, records, running, send
from tests.support.kafka import all_durable, batch_of, events, make_topic, producing, send_as_is
from tests.support.waiting import until
from worker.storage.database import Database

# The numbers are those in the attributes of a batch.
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@pytest.mark.parametrize("codec", list(CODECS))
async def test_what_a_producer_compressed_is_stored_once(database: Database, kafka: str, codec: str) -> None:
    topic = await make_topic(kafka, 2)
    published = events(600)
    async with producing(kafka, compression_type=codec, linger_ms=20) as producer:
        for record in records(published):
            await producer.send(topic, record.value, key=record.key)
        await producer.flush()
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(600)
        await until(all_durable(kafka, topic, 2), "the end is durable")
    await assert_exactly_once(database, published)


@pytest.mark.parametrize("codec", list(CODECS))
async def test_what_the_broker_compressed_again_with_java_is_stored_once(
    database: Database, kafka: str, codec: str
) -> None:
    topic = await make_topic(kafka, 2, compression_type=codec)
    published = events(600)
    await send(kafka, topic, records(published))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(600)
    await assert_exactly_once(database, published)


async def test_one_partition_with_all_codecs_in_turn_is_read_in_order(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka)
    published = events(60, learners=1)
    for number, codec in enumerate([0, *CODECS.values()] * 2):
        part = published[number * 6 : number * 6 + 6]
        assert await send_as_is(kafka, topic, batch_of(records(part), codec)) == number * 6
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(60)
    stored = await database.course_events.find({}).sort({"version": 1}).to_list(None)
    assert [str(document["_id"]) for document in stored] == [fields["event_id"] for fields in published]
