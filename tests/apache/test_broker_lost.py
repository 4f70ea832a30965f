"""Brokers that die, stop and come back, one or one of three: nothing is lost and nothing is there twice."""

import uuid
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError

from tests.apache.traffic import flowing
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import RunningIngest, options, running
from tests.support.kafka import administering, all_durable, make_topic
from tests.support.waiting import until
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.apache.node import Node
from worker.storage.database import Database

LIMIT_S = 120.0


async def until_stored(ingest: RunningIngest, count: int) -> None:
    await until(lambda: ingest.outcome("stored") >= count, f"{count} events stored", LIMIT_S)


async def until_all_is_done(ingest: RunningIngest, kafka: str, count: int, partitions: int) -> None:
    """Every record stored, the offsets behind them durable, and no lag shown."""
    await until_stored(ingest, count)
    await until(all_durable(kafka, ingest.topic, partitions), "the end is durable", LIMIT_S)
    lags = [{"topic": ingest.topic, "partition": str(number)} for number in range(partitions)]
    await until(
        lambda: not any(ingest.value("kafka_consumer_lag_records", **labels) for labels in lags), "no lag"
    )


# ---- one node ----


async def _killed(node: Node) -> None:
    node.kill()


async def _stopped(node: Node) -> None:
    node.stop()


@pytest.mark.parametrize("end", [_killed, _stopped])
async def test_a_single_broker_that_goes_and_comes_back_costs_time_and_nothing_else(
    database: Database, own_broker: ApacheKafka, end: Callable[[Node], Awaitable[None]]
) -> None:
    kafka, [node] = own_broker.bootstrap_servers, own_broker.nodes
    topic = await make_topic(kafka, 2)
    async with running(database, options(kafka, topic)) as ingest:
        async with flowing(kafka, topic, [0, 1]) as traffic:
            await traffic.goes_on()
            await until_stored(ingest, 1)
            await end(node)
            await own_broker.restart(node)
            await traffic.goes_on()
        await until_all_is_done(ingest, kafka, len(traffic.acknowledged), 2)
        assert ingest.value("gap_records_total", reason="log_restarted") == 0
    await assert_exactly_once(database, traffic.acknowledged)


# ---- one of three nodes ----


async def coordinator_of(kafka: str, topic: str) -> int | None:
    """The node that the group's members report to; None while there is none, or nobody who knows."""
    async with administering(kafka) as admin:
        try:
            return int(await admin.find_coordinator(f"group-{topic}"))
        except KafkaError:
            return None


async def leader_of(kafka: str, topic: str) -> int:
    client = AIOKafkaClient(bootstrap_servers=kafka)
    try:
        await client.bootstrap()
        await client.set_topics([topic])
        await client.force_metadata_update()
        return int(client.cluster.leader_for_partition(TopicPartition(topic, 0)) or -1)
    finally:
        await client.close()


async def rejoined(kafka: ApacheKafka, node: Node, topic: str) -> None:
    await kafka.restart(node)
    for each in (topic, "__consumer_offsets"):
        await kafka.in_sync(each)


async def test_records_flow_on_when_the_coordinator_of_the_group_is_killed(
    database: Database, three_nodes: ApacheKafka
) -> None:
    kafka = three_nodes.bootstrap_servers
    topic = f"events-{uuid.uuid4().hex[:12]}"
    number = await until(lambda: coordinator_of(kafka, topic), "the group has a coordinator", LIMIT_S)
    node = three_nodes.nodes[number - 1]
    others = [each.number for each in three_nodes.nodes if each is not node]
    # Led by another node: only the group loses its node.
    await make_topic(kafka, name=topic, copies=[[*others, node.number]])
    async with running(database, options(kafka, topic)) as ingest:
        async with flowing(kafka, topic, [0]) as traffic:
            await traffic.goes_on()
            await until_stored(ingest, 1)
            node.kill()

            async def moved() -> bool:
                return await coordinator_of(kafka, topic) not in (None, node.number)

            await until(moved, "another node coordinates the group", LIMIT_S)
            await traffic.goes_on()
        await until_all_is_done(ingest, kafka, len(traffic.acknowledged), 1)
    await rejoined(three_nodes, node, topic)
    await assert_exactly_once(database, traffic.acknowledged)


async def test_records_flow_on_when_the_leader_of_a_partition_is_killed_and_comes_back(
    database: Database, three_nodes: ApacheKafka
) -> None:
    kafka = three_nodes.bootstrap_servers
    topic = await make_topic(kafka, copies=[[2, 3, 1], [3, 1, 2]])
    node = three_nodes.nodes[1]
    async with running(database, options(kafka, topic)) as ingest:
        async with flowing(kafka, topic, [0, 1]) as traffic:
            await traffic.goes_on()
            await until_stored(ingest, 1)
            assert await leader_of(kafka, topic) == 2
            node.kill()
            await traffic.goes_on()
            stored = ingest.outcome("stored")
            await until_stored(ingest, stored + 10)  # before the node is back
            await rejoined(three_nodes, node, topic)
            await traffic.goes_on()
        await until_all_is_done(ingest, kafka, len(traffic.acknowledged), 2)
        assert ingest.value("gap_records_total", reason="log_restarted") == 0
    await assert_exactly_once(database, traffic.acknowledged)


async def test_records_flow_on_when_a_leader_moves_away_in_order_and_back(
    database: Database, three_nodes: ApacheKafka
) -> None:
    kafka = three_nodes.bootstrap_servers
    topic = await make_topic(kafka, copies=[[3, 1, 2]])
    node = three_nodes.nodes[2]
    async with running(database, options(kafka, topic)) as ingest:
        async with flowing(kafka, topic, [0]) as traffic:
            await traffic.goes_on()
            assert await leader_of(kafka, topic) == 3
            node.stop()
            assert await leader_of(kafka, topic) != 3
            await traffic.goes_on()
            await rejoined(three_nodes, node, topic)

            async def moved_back() -> bool:
                return await leader_of(kafka, topic) == 3

            await until(moved_back, "the leader is the first copy again", LIMIT_S)
            await traffic.goes_on()
        await until_all_is_done(ingest, kafka, len(traffic.acknowledged), 1)
        assert ingest.value("gap_records_total", reason="log_restarted") == 0
    await assert_exactly_once(database, traffic.acknowledged)
