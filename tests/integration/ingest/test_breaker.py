"""A flood of poison in one partition: it is left alone, the others go on, and everything is there in the end."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, records, running, send
from tests.support.running import sample
from tests.support.waiting import until
from worker.ingest.breaker import BreakerOptions
from worker.storage.database import Database

POISON = 3_000
QUICK = BreakerOptions(pause_s=1.0, probe_records=20)


def poison(count: int, partition: int) -> list[Sent]:
    return [
        Sent(b'{"deployed": "on friday", "number": %d}' % number, None, partition) for number in range(count)
    ]


@pytest.mark.slow
async def test_a_flood_of_poison_pauses_its_partition_and_drops_nothing(
    database: Database, kafka: str, topic: str
) -> None:
    healthy, after = [event(number % 9) for number in range(600)], [event(number % 9) for number in range(50)]
    chosen = options(kafka, topic, breaker=QUICK)
    async with running(database, chosen) as ingest:
        await ingest.until_assigned(4)
        await send(kafka, topic, poison(300, 0))
        await until(lambda: ingest.value("kafka_paused_partitions", topic=topic) == 1, "it has opened")
        # What comes now waits in Kafka, but for the probes; the other partitions are read as ever.
        await send(kafka, topic, poison(POISON, 0))
        for number in (1, 2, 3):
            await send(kafka, topic, records(healthy[(number - 1) * 200 : number * 200], partition=number))
        await until(lambda: ingest.outcome("stored") == 600, "the healthy partitions are stored")
        probed = ingest.outcome("dead_lettered")
        assert probed < 300 + POISON
        await until(lambda: ingest.outcome("dead_lettered") >= probed + 40, "probes go on")
        assert ingest.value("kafka_paused_partitions", topic=topic) == 1
        await until(
            lambda: ingest.value("kafka_consumer_lag_records", topic=topic, partition="0") > 0, "lag is shown"
        )
        await ingest.until_moved("kafka_paused_partitions", "kafka_breaker_open_partitions")
        # Poison is nothing that more workers would read: who scales by the lag sees what there was before.
        scalable = "sevenp_worker_kafka_scalable_lag_records", {"topic": topic}
        await until(lambda: sample(ingest.metrics, *scalable) == 0, "the lag to scale by is none")
        # The deploy is undone: good records behind the poison close it once a probe reaches them.
        await ingest.drain()
    impatient = options(kafka, topic, breaker=BreakerOptions(share=1.0))
    await send(kafka, topic, records(after, partition=0))
    async with running(database, impatient) as ingest:
        await until(lambda: ingest.outcome("stored") == 50, "what stood behind the poison is stored")
    assert await database.dead_letters.count_documents({"kind": "record"}) == 300 + POISON
    await assert_exactly_once(database, [*healthy, *after], voids=None)


@pytest.mark.slow
async def test_it_closes_when_the_producer_is_mended(database: Database, kafka: str, topic: str) -> None:
    mended = [event(number % 9) for number in range(400)]
    async with running(database, options(kafka, topic, breaker=QUICK)) as ingest:
        await ingest.until_assigned(4)
        await send(kafka, topic, poison(300, 2))
        await until(lambda: ingest.value("kafka_paused_partitions", topic=topic) == 1, "it has opened")
        await send(kafka, topic, records(mended, partition=2))
        await ingest.until_processed(700)
        await until(lambda: ingest.value("kafka_paused_partitions", topic=topic) == 0, "it has closed")
    assert await database.dead_letters.count_documents({"kind": "record"}) == 300
    await assert_exactly_once(database, mended, voids=None)


async def test_the_log_says_how_many_records_wait_in_a_paused_partition(
    database: Database, kafka: str, topic: str
) -> None:
    await send(kafka, topic, poison(300, 1))
    chosen = options(kafka, topic)
    chosen = replace(chosen, consumer=replace(chosen.consumer, max_records=200))
    with capture_logs() as logs:
        async with running(database, chosen) as ingest:
            await until(lambda: ingest.value("kafka_paused_partitions", topic=topic) == 1, "it has opened")
    [opened] = [entry for entry in logs if entry["event"] == "breaker_opened"]
    assert (opened["partition"], opened["dead_letters"], opened["waiting"]) == (1, 200, 100)
