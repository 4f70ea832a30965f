"""Records that are no usual events: large ones, tombstones, headers, the broker's own clock."""

from dataclasses import replace
from datetime import UTC, datetime

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, records, running, send
from tests.support.kafka import all_durable, batch_of, events, make_topic, producing, send_as_is
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.storage.database import Database
from worker.timing import SystemClock

KIB = 1024
LIMIT_BYTES = 256 * KIB


def padded(size_bytes: int) -> bytes:
    """A valid event of exactly this size: blanks between its fields carry no meaning."""
    body = encode(event(1))
    return body[:-1] + b" " * (size_bytes - len(body)) + b"}"


async def test_records_of_300_kib_are_kept_whole_beside_their_stored_neighbours(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, 2)
    published = events(30)
    neighbours = [r for n, fields in enumerate(published) for r in records([fields], partition=n % 2)]
    large = [Sent(padded(300 * KIB), b"large", n % 2) for n in range(4)]
    sent = [*neighbours[:10], large[0], large[1], *neighbours[10:20], large[2], *neighbours[20:], large[3]]
    async with producing(kafka, linger_ms=5, max_request_size=1_000_000) as producer:
        for record in sent:
            await producer.send(topic, record.value, key=record.key, partition=record.partition)
        await producer.flush()
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(34)
        assert ingest.value("dead_lettered_events_total", error_class="too_large") == 4
        await until(all_durable(kafka, topic, 2), "the end is durable")
    dead_letters = await database.dead_letters.find({}).to_list(None)
    assert [(each["reason"], each["size_bytes"]) for each in dead_letters] == [("too_large", 300 * KIB)] * 4
    assert sorted(dead_letter["value"] for dead_letter in dead_letters) == sorted(
        record.value or b"" for record in large
    )
    await assert_exactly_once(database, published)


async def test_a_record_of_the_largest_size_allowed_is_stored_and_one_byte_more_is_not(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka)
    await send(kafka, topic, [Sent(padded(LIMIT_BYTES)), Sent(padded(LIMIT_BYTES + 1))])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (1, 1)
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert (dead_letter["reason"], dead_letter["offset"]) == ("too_large", 1)


async def test_tombstones_are_skipped_counted_and_passed(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka, cleanup_policy="compact")
    published = events(5)
    tombstones = [Sent(None, b"gone-%d" % n) for n in range(3)]
    async with running(database, options(kafka, topic)) as ingest:
        await send(kafka, topic, [tombstones[0], *records(published), *tombstones[1:]])
        await ingest.until_processed(8)
        assert (ingest.outcome("skipped"), ingest.outcome("stored")) == (3, 5)
        await until(all_durable(kafka, topic, 1), "the end is durable")
    assert await database.dead_letters.count_documents({}) == 0
    await assert_exactly_once(database, published)


async def test_headers_of_a_dead_letter_are_those_of_the_record(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka)
    headers = (("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b""), ("ключ", b"value"))
    await send(kafka, topic, [Sent(b"no json", b"key", 0, headers), *records(events(1), partition=0)])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        assert ingest.outcome("stored") == 1
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert [(header["key"], header["value"]) for header in dead_letter["headers"]] == list(headers)
    assert (dead_letter["key"], dead_letter["value"]) == (b"key", b"no json")


async def test_a_header_without_a_value_stays_without_one(database: Database, kafka: str) -> None:
    topic = await make_topic(kafka)
    batch = batch_of([Sent(b"no json", None, 0, (("absent", None),))])  # type: ignore[arg-type]
    await send_as_is(kafka, topic, batch)
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(1)
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert dead_letter["headers"] == [{"key": "absent", "value": None}]


async def test_where_the_broker_gives_the_time_its_clock_is_the_record_s(
    database: Database, kafka: str
) -> None:
    topic = await make_topic(kafka, message_timestamp_type="LogAppendTime")
    began = SystemClock().now()
    sent = [
        replace(record, timestamp_ms=1) for record in records(events(1))
    ]  # 1970: the event would lie ahead
    await send(kafka, topic, [*sent, Sent(b"no json", timestamp_ms=1)])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        assert ingest.outcome("stored") == 1
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert dead_letter["kafka_timestamp"].astimezone(UTC) >= began.replace(microsecond=0)
    assert isinstance(dead_letter["kafka_timestamp"], datetime)
