"""Ingest through crashes, refusals, races and zombies: every event once, every row once, no hole."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError

from tests.integration.ingest.ledger import (
    assert_dense,
    assert_exactly_once,
    committed,
    stored_before,
)
from tests.integration.storage.fences import failpoint
from tests.support.ingest import Sent, event, options, records, running, send, with_kafka
from tests.support.settings import changed
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.ingest.options import IngestOptions
from worker.storage.database import Database
from worker.storage.documents import interaction_row
from worker.storage.partition_lease import take_partition
from worker.timing import SystemClock

POISON = "poisonous"


def small_batches(chosen: IngestOptions, max_records: int) -> IngestOptions:
    return replace(chosen, consumer=replace(chosen.consumer, max_records=max_records))


def quick_drain(chosen: IngestOptions) -> IngestOptions:
    """Give batches up soon, and find the position check due at every turn."""
    quick = changed(chosen.settings, drain_deadline_s=1.0, position_check_interval_s=0.0)
    return replace(chosen, settings=quick)


# ---- crashes ----


async def test_after_a_crash_between_events_and_rows_only_the_missing_rows_are_written(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number % 5) for number in range(60)]
    sent = records(published)
    places = await send(kafka, topic, sent)
    before = stored_before(topic, sent[:40], places[:40])
    await database.course_events.insert_many(before)
    await database.user_interactions.insert_many([interaction_row(document) for document in before[:15]])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(60)
        assert (ingest.outcome("redelivered"), ingest.outcome("stored")) == (40, 20)
    await assert_exactly_once(database, published)


@pytest.mark.parametrize("max_records", [7, 20_000])
async def test_after_a_crash_between_rows_and_commit_nothing_is_there_twice(
    database: Database, kafka: str, topic: str, max_records: int
) -> None:
    published = [event(number % 5) for number in range(100)]
    await send(kafka, topic, records(published))
    chosen = options(kafka, topic)
    async with running(database, small_batches(chosen, 30)) as first:
        await first.until_processed(100)
    # To a group of another name every commit is one that never arrived.
    uncommitted = with_kafka(chosen, group_id=f"again-{topic}")
    async with running(database, small_batches(uncommitted, max_records)) as second:
        await second.until_processed(100)
        assert second.outcome("redelivered") == 100
    await assert_exactly_once(database, published)


async def test_a_stored_event_of_another_record_keeps_its_row_to_that_record(
    database: Database, kafka: str, topic: str
) -> None:
    # The other record's worker died before the row: it is that record's redelivery that will write it.
    duplicate = event(1)
    sent = records([duplicate, event(2)])
    await send(kafka, topic, sent)
    [document] = stored_before("another-topic", sent[:1], [(0, 99)])
    await database.course_events.insert_one(document)
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        assert (ingest.outcome("duplicate"), ingest.outcome("stored")) == (1, 1)
    assert await database.user_interactions.count_documents({"_id": document["_id"]}) == 0


# ---- refusals ----


@asynccontextmanager
async def refusing(database: Database) -> AsyncIterator[None]:
    """The event store refuses what has the device type POISON."""
    [collection] = await (await database.content.list_collections(filter={"name": "course_events"})).to_list(
        None
    )
    validator = collection["options"].get("validator", {})
    stricter = {"$and": [validator, {"event_data.device_type": {"$ne": POISON}}]}
    await database.content.command({"collMod": "course_events", "validator": stricter})
    yield


@pytest.mark.parametrize(("place", "voids"), [(0, 1), (4, 1), (9, 0)])
async def test_a_refused_document_costs_neither_its_neighbours_nor_a_hole(
    database: Database, kafka: str, topic: str, place: int, voids: int
) -> None:
    published = [event(1) for _ in range(10)]
    published[place]["device_type"] = POISON
    healthy = published[:place] + published[place + 1 :]
    await send(kafka, topic, records(published, partition=0))
    async with refusing(database), running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(10)
        assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (9, 1)
        assert ingest.value("version_holes_filled_total") == voids
        later = event(1)
        await send(kafka, topic, records([later], partition=0))
        await ingest.until_processed(11)
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert (dead_letter["reason"], dead_letter["value"]) == ("refused_by_store", encode(published[place]))
    assert dead_letter["event_id"] == uuid.UUID(published[place]["event_id"])
    await assert_exactly_once(database, [*healthy, later], voids=voids)
    stored = await database.course_events.find({"event_type": "view"}).sort({"version": 1}).to_list(None)
    assert [str(document["_id"]) for document in stored] == [e["event_id"] for e in [*healthy, later]]


async def test_what_bson_cannot_hold_is_a_dead_letter_beside_its_neighbours(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(1) for _ in range(3)]
    hostile = encode({**event(1), "details": {"a": "HERE"}}).replace(b"HERE", b"\\ud800")
    sent = [*records(published[:2], 0), Sent(hostile, None, 0), *records(published[2:], 0)]
    await send(kafka, topic, sent)
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(4)
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert dead_letter["value"] == hostile
    await assert_exactly_once(database, published)


# ---- races ----


async def test_another_writer_of_the_stream_costs_a_retry_and_no_version(
    database: Database, kafka: str, topic: str
) -> None:
    first, second = [event(1) for _ in range(3)], [event(1) for _ in range(4)]
    async with running(database, options(kafka, topic)) as ingest:
        await send(kafka, topic, records(first, partition=0))
        await ingest.until_processed(3)  # from now on the worker believes that version 3 is the highest
        foreign = [await store_as_another_writer(database, event(1), version) for version in (4, 5, 6)]
        await send(kafka, topic, records(second, partition=0))
        await ingest.until_processed(7)
    documents = await database.course_events.find({}).sort({"version": 1}).to_list(None)
    found = [str(document["_id"]) for document in documents if document["event_type"] != "void"]
    assert found[:6] == [e["event_id"] for e in first + foreign]
    assert sorted(found[6:]) == sorted(e["event_id"] for e in second)
    assert_dense(documents)


async def store_as_another_writer(database: Database, fields: dict[str, Any], version: int) -> dict[str, Any]:
    """What a worker on another partition does with an event of the same stream."""
    [document] = stored_before("elsewhere", [Sent(encode(fields))], [(0, version)])
    await database.course_events.insert_one({**document, "version": version})
    await database.user_interactions.insert_one(interaction_row(document))
    return fields


async def test_a_zombie_is_fenced_and_starts_again(database: Database, kafka: str, topic: str) -> None:
    early, late = ([event(number) for number in range(20)] for _ in range(2))
    async with running(database, options(kafka, topic)) as ingest:
        await send(kafka, topic, records(early))
        await ingest.until_processed(20)
        for number in range(4):  # a newer owner, of whom this worker has not heard
            await take_partition(database, topic, number, uuid.uuid4(), clock=SystemClock(), deadline_s=20.0)
        await send(kafka, topic, records(late))
        await ingest.until_processed(40)
        assert ingest.value("fenced_writes_total", component="ingest") >= 1
        assert ingest.outcome("redelivered") > 0  # their events were stored before the rows were fenced
    await assert_exactly_once(database, early + late)


@pytest.mark.slow
async def test_a_third_worker_joins_and_leaves_while_records_flow(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number % 50) for number in range(3_000)]
    sent = records(published)
    chosen = small_batches(options(kafka, topic), 100)
    async with running(database, chosen) as one, running(database, chosen) as two:
        for worker in (one, two):
            await worker.until_assigned(2)
        await send(kafka, topic, sent[:1_000])
        async with running(database, chosen) as three:
            await send(kafka, topic, sent[1_000:2_000])
            await until(
                lambda: three.value("kafka_assigned_partitions", topic=topic) >= 1,
                "the third has a partition",
            )
            await send(kafka, topic, sent[2_000:2_500])
        await send(kafka, topic, sent[2_500:])
        await until(
            lambda: one.outcome("stored") + two.outcome("stored") + three.outcome("stored") >= 3_000,
            "every event stored by one of them",
            120.0,
        )
        revoked = sum(w.value("kafka_rebalances_total", kind="revoked") for w in (one, two))
        assert revoked >= 2
    await assert_exactly_once(database, published, voids=None)


# ---- stopping ----


@pytest.mark.slow
async def test_stopping_in_mid_batch_finishes_and_commits_it(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number % 5) for number in range(500)]
    chosen = options(kafka, topic)
    async with running(database, chosen) as first:
        await first.until_assigned(4)
        async with failpoint(database.client, "hangTimeseriesInsertBeforeCommit") as hanging:
            await send(kafka, topic, records(published))
            await hanging.until_hit()
            first.stop.set()
        assert hanging.hits >= 1
        await first.drain()
        drained = first.processed()
        assert 0 < drained == first.consumed()
    assert await committed(kafka, topic, chosen.consumer.kafka.group_id) == drained
    async with running(database, chosen) as second:
        await second.until_processed(500 - drained)
        await second.until_assigned(4)
        assert second.outcome("redelivered") == 0
    await assert_exactly_once(database, published)


@pytest.mark.slow
async def test_a_batch_given_up_at_the_drain_deadline_is_not_committed(
    database: Database, kafka: str, topic: str
) -> None:
    published = [event(number % 5) for number in range(200)]
    chosen = options(kafka, topic)
    async with (
        failpoint(database.client, "hangTimeseriesInsertBeforeCommit") as hanging,
        running(database, quick_drain(chosen)) as first,
    ):
        await first.until_assigned(4)
        await send(kafka, topic, records(published))
        await hanging.until_hit()
        durable = first.processed()
        await first.drain()
        assert first.processed() == first.consumed() == durable < 200
    assert hanging.hits >= 1
    assert await committed(kafka, topic, chosen.consumer.kafka.group_id) == durable
    async with running(database, chosen) as second:
        await second.until_processed(200 - durable)
    await assert_exactly_once(database, published)


# ---- hostile records ----


@pytest.mark.parametrize("timestamp_ms", [10**17, 2**62, -5])
async def test_a_timestamp_that_is_no_date_stops_nothing(
    database: Database, kafka: str, topic: str, timestamp_ms: int
) -> None:
    published = [event(1), event(1)]
    hostile, healthy = records(published, partition=0)
    try:
        await send(kafka, topic, [replace(hostile, timestamp_ms=timestamp_ms), healthy])
    except InvalidTimestampError:
        pytest.skip("this broker lets no such record in")
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        # Before the epoch means that the event lies ahead of its record: a dead letter, not a stop.
        assert ingest.outcome("stored") == (2 if timestamp_ms > 0 else 1)
