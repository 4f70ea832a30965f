"""What a worker with all roles shows while it works, as a scrape sees it."""

from pathlib import Path

import pytest

from tests.support.ingest import Sent, event, records, send
from tests.support.notify import row, write
from tests.support.scraping import samples_at, until_moved_at, value_at
from tests.support.waiting import until
from tests.support.worker_process import StartWorker
from worker.contract.codec import encode
from worker.contract.export import examples
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database

MOST_SERIES = 600
MOST_SERIES_OF_A_TOPIC = 14


@pytest.mark.slow
async def test_a_working_worker_moves_what_it_should_and_shows_fewer_series_than_promised(
    start_worker: StartWorker, database: Database, kafka: str, topic: str
) -> None:
    others = {f"{inlet}_topic": f"{topic}-{inlet}" for inlet in ("content", "account", "billing", "worker")}
    worker = start_worker(**others)
    url = worker.url()
    assert value_at(url, "dependency_up", dependency="start") in (0, 1)
    worker.wait_until_ready()
    twice = event(1)
    sent = [*records([*(event(number) for number in range(30)), twice, twice]), Sent(b"poison")]
    await send(kafka, topic, sent)
    await write(database, [row(1)])
    await until_moved_at(
        url,
        "build_info",
        "component_up",
        "component_last_progress_timestamp_seconds",
        "dependency_up",
        "drain_budget_seconds",
        "event_loop_delay_seconds",
        "buffer_limit_bytes",
        "kafka_records_consumed_total",
        "kafka_topic_partitions",
        "kafka_assigned_partitions",
        "kafka_lag_updated_timestamp_seconds",
        "kafka_rebalances_total",
        "events_processed_total",
        "ingest_stage_duration_seconds",
        "ingest_batch_events",
        "event_lateness_seconds",
        "dead_lettered_events_total",
        "mongodb_operation_duration_seconds",
        "lease_held",
        "lease_transitions_total",
        "change_stream_events_total",
        "change_stream_last_heartbeat_timestamp_seconds",
        "projection_events_applied_total",
        "projection_freshness_seconds",
        "notifications_total",
        "notification_send_duration_seconds",
        "dead_letter_events",
        "depths_updated_timestamp_seconds",
    )
    for name in ("mongodb", "kafka", "start"):
        assert value_at(url, "dependency_up", dependency=name) == 1
    assert value_at(url, "kafka_topic_partitions", topic=topic) == 4
    assert (at_first := len(samples_at(url))) <= MOST_SERIES
    await create_topic(kafka, others["billing_topic"], partitions=4)
    await send(kafka, others["billing_topic"], [Sent(encode(examples()["promotion_ended"]))])
    stored = {"topic": others["billing_topic"], "outcome": "stored"}
    await until(lambda: value_at(url, "events_processed_total", **stored) == 1, "a topic that came later")
    await until(
        lambda: value_at(url, "kafka_scalable_lag_records", topic=others["billing_topic"]) == 0, "its lag"
    )
    assert len(samples_at(url)) - at_first <= MOST_SERIES_OF_A_TOPIC + 2 * 4


@pytest.mark.slow
async def test_a_broker_that_goes_away_shows_as_the_dependency_that_is_down(
    start_worker: StartWorker, tmp_path: Path, topic: str
) -> None:
    broker = await start_broker(tmp_path)
    try:
        await create_topic(broker.bootstrap_servers, topic, partitions=1)
        url = start_worker(kafka_bootstrap_servers=broker.bootstrap_servers).wait_until_ready()
        await until(lambda: value_at(url, "kafka_scalable_lag_records", topic=topic) == 0, "the lag is known")
    finally:
        broker.stop()
    await until(lambda: value_at(url, "dependency_up", dependency="kafka") == 0, "it is seen to be down")
    assert value_at(url, "dependency_up", dependency="mongodb") == 1
    # What was known last stays, and with it the time from which it is.
    assert value_at(url, "kafka_consumer_lag_records", topic=topic, partition="0") == 0
    assert (value_at(url, "kafka_lag_updated_timestamp_seconds", topic=topic) or 0) > 0
