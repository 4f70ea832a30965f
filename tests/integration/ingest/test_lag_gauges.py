"""The gauges of the lag by themselves, on a real broker: after a defect, and for ever out of the group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from tests.support.ingest import options
from tests.support.running import sample
from tests.support.settings import changed
from tests.support.waiting import until
from worker.errors import Retryable
from worker.ingest.lag import Owned
from worker.ingest.lag_gauges import LagGauges, Ownership
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.log_ends import LogEnds, LogEndsClient
from worker.kafka.record import Partition
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock, cancel_and_wait


@contextlib.asynccontextmanager
async def gauges(ownership: Ownership, chosen: ConsumerOptions) -> AsyncIterator[Metrics]:
    """They run until the block ends."""
    metrics = Metrics()
    running = asyncio.create_task(LagGauges(ownership, chosen, 0.05, SystemClock(), metrics).run())
    try:
        yield metrics
    finally:
        await cancel_and_wait(running)


def partitions(metrics: Metrics, topic: str) -> float | None:
    return sample(metrics, "sevenp_worker_kafka_topic_partitions", {"topic": topic})


async def test_after_a_defect_a_new_client_asks_and_the_wait_is_over_when_kafka_has_answered(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [ValueError("a defect"), ValueError("another"), KafkaConnectionError()]
    clients: list[AIOKafkaClient] = []
    answer = LogEndsClient._leaders  # noqa: SLF001 - where the library itself would raise

    async def leaders(asking: LogEndsClient, client: AIOKafkaClient) -> Any:
        clients.append(client)
        if failures:
            raise failures.pop()
        return await answer(asking, client)

    monkeypatch.setattr(LogEndsClient, "_leaders", leaders)
    with capture_logs() as logs:
        async with gauges(dict, options(kafka, topic).consumer) as metrics:
            await until(lambda: partitions(metrics, topic) == 4, "Kafka has answered")
    assert len({id(client) for client in clients[:4]}) == 4
    told = [each["event"] for each in logs if "lag" in each["event"]]
    waiting = "lag_waits_for_kafka"
    assert told == [waiting, "lag_not_measured", "lag_not_measured", f"{waiting}_over"]


async def test_a_long_silence_of_kafka_gives_up_no_lag_when_it_ends(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = options(kafka, topic).consumer
    chosen = replace(chosen, kafka=changed(chosen.kafka, rebalance_timeout_ms=200, session_timeout_ms=400))
    longest_s, clock = chosen.kafka.longest_rejoin_s, SystemClock()
    owned: dict[str, Mapping[Partition, Owned] | None] = {
        "now": {Partition(topic, 0): Owned(durable=0, end=7)}
    }
    silent_until, answers, ask = [0.0], list[float](), LogEndsClient.ask

    async def asked(client: LogEndsClient, committed_of: Collection[Partition]) -> LogEnds:
        if clock.monotonic() < silent_until[0]:
            raise Retryable("no answer")
        answers.append(clock.monotonic())
        return await ask(client, committed_of)

    monkeypatch.setattr(LogEndsClient, "ask", asked)
    async with gauges(lambda: owned["now"], chosen) as metrics:

        def scalable() -> float | None:
            return sample(metrics, "sevenp_worker_kafka_scalable_lag_records", {"topic": topic})

        await until(lambda: scalable() == 7, "it is shown")
        owned["now"], silent_until[0] = None, clock.monotonic() + 1.5 * longest_s
        before = len(answers)
        await until(lambda: len(answers) > before + 2, "Kafka answers again")
        # The group could let nobody in: what it has not said yet is no lag of 0.
        assert scalable() == 7
        await until(lambda: scalable() is None, "it is given up")
        assert clock.monotonic() - answers[before] >= longest_s


async def test_who_never_gets_back_into_the_group_shows_no_lag_of_what_somebody_else_has(
    kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic).consumer
    # Given up after 2 s.
    chosen = replace(chosen, kafka=changed(chosen.kafka, rebalance_timeout_ms=500, session_timeout_ms=500))
    labels = {"topic": topic, "partition": "0"}
    owned: dict[str, Mapping[Partition, Owned] | None] = {
        "now": {Partition(topic, 0): Owned(durable=0, end=7)}
    }
    async with gauges(lambda: owned["now"], chosen) as metrics:

        def lag() -> float | None:
            return sample(metrics, "sevenp_worker_kafka_consumer_lag_records", labels)

        await until(lambda: lag() == 7, "it is shown")
        before = partitions(metrics, topic)
        owned["now"] = None
        began = SystemClock().monotonic()
        await until(lambda: lag() is None, "it is given up")
        assert SystemClock().monotonic() - began > 1.5
        assert partitions(metrics, topic) == before
