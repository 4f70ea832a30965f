"""Where logs end and what a group has committed, asked for beside any consumer."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaClient

from tests.conftest import StackKind
from tests.support.ingest import event, options, records, running, send
from tests.support.settings import changed
from tests.support.waiting import until
from worker.errors import Retryable
from worker.kafka.log_ends import LogEndsClient
from worker.kafka.record import Partition
from worker.storage.database import Database


async def test_partitions_ends_and_committed_offsets_are_told(
    database: Database, kafka: str, topic: str, stack: StackKind
) -> None:
    chosen, partitions = options(kafka, topic), [Partition(topic, number) for number in range(4)]
    client = LogEndsClient(chosen.consumer)
    try:
        before = await client.ask(partitions)
        assert before.partitions == set(partitions)
        assert before.ends == dict.fromkeys(partitions, 0)
        assert before.committed == {}
        async with running(database, chosen) as ingest:
            await send(kafka, topic, records([event(1) for _ in range(30)], partition=1))
            await ingest.until_processed(30)
        after = await client.ask(partitions)
        assert after.committed[partitions[1]] == 30
        # The embedded broker answers with the begin of the last batch.
        assert after.ends[partitions[1]] == 30 or (stack == "embedded" and after.ends[partitions[1]] < 30)
        assert after.ends[partitions[0]] == 0
        assert (await client.ask([])).committed == {}
    finally:
        await client.close()
        await client.close()


async def test_a_broker_that_is_not_there_gives_no_answer(topic: str) -> None:
    client = LogEndsClient(options("127.0.0.1:1", topic).consumer)
    with pytest.raises(Retryable, match="no answer from Kafka"):
        await client.ask([])
    await client.close()


async def test_a_coordinator_that_is_silent_hides_no_end(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_arguments: object) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(AIOKafkaClient, "coordinator_lookup", silent)
    chosen, partitions = options(kafka, topic).consumer, [Partition(topic, number) for number in range(4)]
    client = LogEndsClient(replace(chosen, kafka=changed(chosen.kafka, request_deadline_s=2.0)))
    try:

        async def ends_known() -> bool:  # a topic just made has no leaders yet
            answer = await client.ask(partitions)
            assert answer.committed == {}
            return answer.ends == dict.fromkeys(partitions, 0)

        await until(ends_known, "the ends of all partitions")
    finally:
        await client.close()


async def test_a_topic_that_is_not_there_has_no_partitions_and_is_not_made(kafka: str) -> None:
    client = LogEndsClient(options(kafka, "nobody-made-this").consumer)
    try:
        for _ in range(2):
            answer = await client.ask([])
            assert (answer.partitions, answer.ends) == (frozenset(), {})
    finally:
        await client.close()
