"""The lag tells the truth while nothing is read: by a client of its own, and by the clock."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.failpoints import failing
from tests.support.ingest import RunningIngest, event, options, records, running, send
from tests.support.running import sample
from tests.support.scraping import until_moved
from worker.contract.source import Source
from worker.ingest.accounting import count_outcome
from worker.ingest.record import BatchOutcome
from worker.kafka.record import Batch, Partition, Record
from worker.storage.database import Database
from worker.telemetry.metrics import Metrics

# The server gave up: it is asked again.
GAVE_UP = 262
WAITING = 40


def shown(ingest: RunningIngest, name: str, partition: int | None = None) -> float | None:
    """A gauge, None where it is absent."""
    labels = {"topic": ingest.topic, **({} if partition is None else {"partition": str(partition)})}
    return sample(ingest.metrics, f"sevenp_worker_kafka_{name}", labels)


@pytest.mark.slow
async def test_while_ingest_waits_for_mongodb_the_lag_is_what_waits_and_its_age_grows_by_the_clock(
    watched: Database, kafka: str, topic: str
) -> None:
    early, late = ([event(number) for number in range(WAITING)] for _ in range(2))
    async with running(watched, options(kafka, topic)) as ingest:
        await ingest.until(lambda: shown(ingest, "consumer_lag_records", 3) == 0, "no lag yet")
        assert shown(ingest, "topic_partitions") == 4
        assert shown(ingest, "scalable_lag_records") == 0
        await ingest.until(lambda: shown(ingest, "lag_updated_timestamp_seconds"), "it says when that was")
        updated = shown(ingest, "lag_updated_timestamp_seconds") or 0.0
        async with failing(watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"):
            await send(kafka, topic, records(early, partition=2))
            await send(kafka, topic, records(late, partition=2))
            # The embedded broker answers with the begin of the last batch: what is fetched and what is answered.
            await ingest.until(lambda: (shown(ingest, "consumer_lag_records", 2) or 0) >= WAITING, "it shows")
            await ingest.until_moved(
                "kafka_consumer_lag_records",
                "kafka_consumer_lag_seconds",
                "kafka_scalable_lag_records",
                "kafka_lag_updated_timestamp_seconds",
                "kafka_topic_partitions",
                "buffer_bytes",
            )
            assert shown(ingest, "consumer_lag_seconds", 1) == 0
            before = shown(ingest, "consumer_lag_seconds", 2) or 0.0
            await ingest.until(
                lambda: (shown(ingest, "consumer_lag_seconds", 2) or 0) > before + 1, "the age grows"
            )
            assert (shown(ingest, "lag_updated_timestamp_seconds") or 0) > updated
        await ingest.until_processed(2 * WAITING)
        await ingest.until(
            lambda: shown(ingest, "consumer_lag_records", 2) == shown(ingest, "consumer_lag_seconds", 2) == 0,
            "no lag any more",
        )


@pytest.mark.slow
async def test_each_partition_is_shown_by_its_owner_and_by_nobody_else(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    async with running(database, chosen) as first:
        await first.until(lambda: owned(first) == {0, 1, 2, 3}, "it owns all")
        async with running(database, chosen) as second:
            await second.until(lambda: len(owned(second)) == 2, "they share")
            await first.until(lambda: owned(first) == {0, 1, 2, 3} - owned(second), "each shows its own")


def owned(ingest: RunningIngest) -> set[int]:
    """The partitions whose lag is shown."""
    return {number for number in range(4) if shown(ingest, "consumer_lag_records", number) is not None}


async def test_without_a_broker_nothing_is_known_and_nothing_is_shown(database: Database) -> None:
    with capture_logs() as logs:
        async with running(database, options("127.0.0.1:1", "nowhere")) as ingest:
            told = "lag_waits_for_kafka"
            await ingest.until(lambda: told in [each["event"] for each in logs], "it has asked")
            for name in ("topic_partitions", "scalable_lag_records", "lag_updated_timestamp_seconds"):
                assert shown(ingest, name) is None


async def test_a_record_without_an_outcome_is_counted_as_dropped() -> None:
    metrics, now = Metrics(), datetime.now(UTC)
    lost = Record(Source("topic", 0, 7), now, None, b"{}")
    batch = Batch((lost,), {Partition("topic", 0): 8}, 1, 0.0, now)
    count_outcome(metrics, batch, BatchOutcome(), now + timedelta(days=1))
    await until_moved(metrics, "events_dropped_total")
