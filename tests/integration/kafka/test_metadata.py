"""What stands around a value (key, headers, time) never costs more than itself, however large or absurd it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, records, running, send
from tests.support.kafka import make_topic
from worker.contract.gaps import GapReason
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.errors import Retryable
from worker.ingest.dead_letters import PART_BYTES, store_dead_letters, store_gaps
from worker.ingest.record import DeadLetter
from worker.kafka.files import OutgoingRecord
from worker.kafka.positions import Gap
from worker.kafka.record import Partition, Record
from worker.retry.dead_letters import Damaged, Kept, find_names, read_kept
from worker.retry.redrive import Skipped, redrive
from worker.retry.selection import Selection
from worker.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BROKEN = Rejected(RejectReason.NOT_JSON, "no JSON")


def dead_letter(offset: int, value: bytes | None = b"v", **fields: Any) -> DeadLetter:
    return DeadLetter(Record(Source("t", 0, offset), NOW, value=value, **{"key": None, **fields}), BROKEN)


async def kept(database: Database, offset: int) -> Kept | Damaged:
    [name] = [name for name in await find_names(database, Selection()) if f":{offset}:" in name]
    found = await read_kept(database, name)
    assert found is not None
    return found[1]


# ---- larger than a document ----


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (bytes(17_000_000), ()),
        (b"k", (("h", bytes(17_000_000)),)),
        (None, (("a", bytes(9_000_000)), ("b", bytes(9_000_000)))),
    ],
    ids=["key", "header", "headers"],
)
async def test_a_bad_record_larger_than_a_document_is_kept_whole_beside_its_stored_neighbours(
    database: Database, kafka: str, key: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    topic = await make_topic(kafka, 1, max_message_bytes=4_000_000)
    published = [event(n) for n in range(4)]
    sent = records(published, partition=0)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, compression_type="gzip", max_request_size=40_000_000
    ) as producer:
        for each in (*sent[:2], Sent(b"x", key, headers=headers), *sent[2:]):
            await producer.send_and_wait(
                topic, each.value, key=each.key, partition=0, headers=list(each.headers)
            )
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(5)
        assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (4, 1)
    assert await kept(database, 2) == Kept(key, list(headers), b"x")
    await assert_exactly_once(database, published)


async def test_what_is_kept_in_parts_goes_as_it_came(database: Database) -> None:
    many = tuple((f"h{n}", b"") for n in range(5_000))
    dead_letters = [
        dead_letter(0, b"x" * (PART_BYTES + 1), key=b"k" * 100_000, headers=(("h", b"v" * 100_000),)),
        dead_letter(1, None, headers=many),
    ]
    await store_dead_letters(database, dead_letters, NOW)
    sent: list[OutgoingRecord] = []

    async def publish(topic: str, records: Sequence[OutgoingRecord]) -> None:
        assert topic == "t"
        sent.extend(records)

    await redrive(database, await find_names(database, Selection()), publish)
    for again, original in zip(sent, dead_letters, strict=True):
        assert (again.key, again.value) == (original.record.key, original.record.value)
        assert again.headers[:-1] == original.record.headers


# ---- refused by the store ----


@asynccontextmanager
async def refusing(database: Database, **condition: Any) -> AsyncIterator[None]:
    """The store takes no dead letter that meets the condition."""
    collections = await database.analytics.list_collections(filter={"name": "dead_letters"})
    [collection] = await collections.to_list(None)
    validator = collection["options"]["validator"]
    stricter = {"$and": [validator, {"$nor": [condition]}]}
    await database.analytics.command({"collMod": "dead_letters", "validator": stricter})
    yield
    await database.analytics.command({"collMod": "dead_letters", "validator": validator})


@pytest.mark.parametrize("refused", [{"value": b"poison"}, {"kind": "part"}], ids=["letter", "part"])
async def test_a_dead_letter_that_the_store_refuses_is_kept_without_its_bytes_and_ends_nothing(
    database: Database, kafka: str, topic: str, refused: dict[str, Any]
) -> None:
    published = [event(n) for n in range(4)]
    value = b"poison" if "value" in refused else b"p" * (PART_BYTES + 1)
    await store_dead_letters(database, [dead_letter(9)], NOW)  # whatever else there is stays as it is
    async with refusing(database, **refused):
        if len(value) < 100:
            await send(kafka, topic, [*records(published, 0), Sent(value, b"k", 0)])
            async with running(database, options(kafka, topic)) as ingest:
                await ingest.until_processed(5)
                assert ingest.outcome("dead_lettered") == 1
            await assert_exactly_once(database, published)
        else:
            await store_dead_letters(database, [dead_letter(4, value, key=b"k"), dead_letter(5)], NOW)
        for _ in range(2):  # which may happen twice
            await store_dead_letters(database, [dead_letter(7, value)], NOW)
    found = await database.dead_letters.find({"without_bytes": True}).sort("offset", 1).to_list(None)
    assert [(each["offset"], each["value"], each["size_bytes"]) for each in found] == [
        (4, None, len(value)),
        (7, None, len(value)),
    ]
    assert isinstance(await kept(database, 9), Kept)
    skipped = (await redrive(database, [found[0]["_id"]], None)).skipped  # type: ignore[arg-type]
    assert skipped == {found[0]["_id"]: Skipped.NO_BYTES}


async def test_where_not_even_that_is_taken_ingest_waits(database: Database) -> None:
    async with refusing(database, kind={"$in": ["record", "gap"]}):
        with pytest.raises(Retryable):
            await store_dead_letters(database, [dead_letter(1)], NOW)
        with pytest.raises(Retryable):
            await store_gaps(database, [Gap(Partition("t", 0), 1, 2, GapReason.RETENTION, "gone")], NOW)
    await store_dead_letters(database, [dead_letter(1)], NOW)
    assert await kept(database, 1) == Kept(None, [], b"v")


# ---- the time of a record ----


async def test_a_record_without_a_time_that_means_anything_is_stored_and_spoils_no_average(
    database: Database, kafka: str
) -> None:
    # The broker's own limit is an hour.
    topic = await make_topic(kafka, message_timestamp_after_max_ms=2**63 - 1)
    published = [event(n) for n in range(5)]
    times = (-1, 1_772_359_200_000_000, 2**63 - 1, 4_000_000_000_000, 1_772_362_800_000)
    sent = [replace(r, timestamp_ms=t) for r, t in zip(records(published, 0), times, strict=True)]
    for each in sent:  # each in a batch of its own: a producer counts times from the first
        await send(kafka, topic, [each])
    bad = replace(sent[0], value=b"no json")
    await send(kafka, topic, [bad])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(6)
        assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (5, 1)
        # 10:00 and its record at 11:00: the one time that is one.
        assert ingest.value("event_lateness_seconds_count") == 1
        assert ingest.value("event_lateness_seconds_sum") == 3_600
    await assert_exactly_once(database, published)
    [dead] = await database.dead_letters.find({}).to_list(None)
    assert dead["kafka_timestamp"] is None
