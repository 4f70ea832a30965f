"""MongoDB went back in time and Kafka did not: the worker sees it by the durable offsets in its leases."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, options, records, running, send
from tests.support.kafka import durable
from tests.support.restored import AFTER, BEFORE, Restored, all_committed, at_rest, go_back, held, missing
from tests.support.settings import changed
from worker.errors import StoreBehind
from worker.settings import MissingRecords
from worker.storage.database import Database
from worker.storage.durable_offsets import OffsetRange, brought_back
from worker.verify.run import verify


@pytest.fixture
async def restored(database: Database, kafka: str, topic: str) -> Restored:
    return await go_back(database, kafka, options(kafka, topic))


async def test_leases_are_never_behind_the_group(database: Database, kafka: str, topic: str) -> None:
    published = [event(number) for number in range(60)]
    async with at_rest(database, options(kafka, topic), kafka):
        for number in range(0, 60, 20):
            await send(kafka, topic, records(published[number : number + 20]))
            committed = await durable(kafka, topic, 4)
            offsets = await held(database, topic)
            assert all((offsets[n].durable or 0) >= (committed[n] or 0) for n in offsets)
    committed = await durable(kafka, topic, 4)
    assert [each.durable for each in (await held(database, topic)).values()] == committed
    assert not missing(await held(database, topic))
    await assert_exactly_once(database, published)


@pytest.mark.slow
async def test_what_the_group_has_read_and_the_store_lost_is_told_and_remembered(
    database: Database, kafka: str, topic: str, restored: Restored
) -> None:
    live = [event(2_000 + number) for number in range(8)]
    for _ in range(2):  # a second worker, or a second start, remembers
        async with running(database, restored.chosen) as ingest:
            await ingest.until_assigned(4)
            assert ingest.value("kafka_missing_records", topic=topic) == AFTER
            await ingest.until_moved("kafka_missing_records")
            await send(kafka, topic, records(live))
            await ingest.until(all_committed(kafka, topic), "it goes on with what is new")
    assert missing(await held(database, topic)) == restored.ranges
    await assert_exactly_once(database, [*restored.kept, *live])
    named = {each.subject for each in (await verify(database)).findings if each.name == "lease_missing"}
    assert named == {f"leases partition:{topic}:{number}" for number in restored.ranges}


@pytest.mark.slow
async def test_by_setting_nothing_is_ingested_before_it_is_brought_back(
    database: Database, kafka: str, topic: str, restored: Restored
) -> None:
    settings = changed(restored.chosen.settings, missing_records=MissingRecords.REFUSE)
    strict = replace(restored.chosen, settings=settings)
    for _ in range(2):
        async with running(database, strict) as ingest:
            with pytest.raises(StoreBehind, match=r"was a backup restored.*reingest --missing"):
                await ingest.until_assigned(4)
    for number, ranges in restored.ranges.items():
        for each in ranges:
            await brought_back(database, (topic, number), each)
    async with running(database, strict) as ingest:
        await ingest.until_assigned(4)
        assert ingest.value("kafka_missing_records", topic=topic) == 0


@pytest.mark.slow
async def test_a_store_that_goes_back_under_a_live_worker_is_noticed_with_the_next_commit(
    database: Database, kafka: str, topic: str
) -> None:
    async with running(database, options(kafka, topic)) as ingest:
        await send(kafka, topic, records([event(number) for number in range(BEFORE)], partition=1))
        await ingest.until(all_committed(kafka, topic), "everything is committed")
        await database.leases.update_one({"_id": f"partition:{topic}:1"}, {"$set": {"durable": 5}})
        await send(kafka, topic, records([event(0)], partition=1))
        await ingest.until(
            lambda: ingest.value("kafka_missing_records", topic=topic) == BEFORE - 5, "it is noticed"
        )
        await ingest.until(all_committed(kafka, topic), "it goes on")
        await brought_back(database, (topic, 1), OffsetRange(5, BEFORE - 1))
        await ingest.until(
            lambda: ingest.value("kafka_missing_records", topic=topic) == 0, "it is seen to be back"
        )
    assert not missing(await held(database, topic))


@pytest.mark.slow
async def test_offsets_that_an_older_release_left_behind_say_nothing(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, records([event(number) for number in range(BEFORE)]))
    # It takes the partition's session, and knows of no other field.
    await database.leases.update_many({"kind": "partition"}, {"$set": {"session": uuid4(), "durable": 0}})
    async with running(database, chosen) as ingest:
        await ingest.until_assigned(4)
        assert ingest.value("kafka_missing_records", topic=topic) == 0
    assert not missing(await held(database, topic))


@pytest.mark.slow
async def test_a_group_that_finds_a_store_without_leases_has_lost_all_of_it(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, records([event(number) for number in range(BEFORE)]))
    await database.leases.delete_many({})
    async with running(database, chosen) as ingest:
        await ingest.until_assigned(4)
        assert ingest.value("kafka_missing_records", topic=topic) == BEFORE
