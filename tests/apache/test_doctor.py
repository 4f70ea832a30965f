"""What only Apache Kafka can tell the doctor: settings of brokers, copies on several of them, and who may do what."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from tests.integration.conftest import settings
from tests.support.doctor import Doctor, commit, sound_topic, subjects, told
from tests.support.ingest import event, records, send
from tests.support.kafka import delete_records, make_topic
from tests.support.waiting import until
from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.devstack.servers.process import free_port
from worker.operate.doctor.compacted_topic import COMPACTED_TOPIC
from worker.operate.doctor.kafka_permissions import KAFKA_PERMISSIONS
from worker.operate.doctor.offsets_expire import OFFSETS_EXPIRE
from worker.operate.doctor.records_gone import RECORDS_GONE
from worker.operate.doctor.session_timeout_refused import SESSION_TIMEOUT_REFUSED
from worker.operate.doctor.setup import Limits
from worker.operate.doctor.short_retention import SHORT_RETENTION
from worker.operate.doctor.topic_copies import TOPIC_COPIES
from worker.operate.doctor.under_replicated import UNDER_REPLICATED
from worker.settings import variable
from worker.storage.database import Database

__all__ = ["settings"]  # a fixture

PASSWORD = "of-this-test"  # noqa: S105 - of this test
DAY = Limits(longest_outage=timedelta(days=1))


@pytest.fixture
def doctor(settings: dict[str, str], database: Database) -> Doctor:
    return Doctor(settings, database, DAY)


@pytest.fixture
def cluster(doctor: Doctor, three_nodes: ApacheKafka) -> Doctor:
    """The doctor at three brokers."""
    servers = three_nodes.bootstrap_servers
    return doctor.but(given={**doctor.given, variable("kafka_bootstrap_servers"): servers})


async def test_session_timeout_refused(doctor: Doctor) -> None:
    """The brokers of tests accept a second; half an hour is the most by default."""
    assert await doctor.sees(SESSION_TIMEOUT_REFUSED) == []
    [found] = await doctor.sees(
        SESSION_TIMEOUT_REFUSED, session_timeout_ms=3_000_000, rebalance_timeout_ms=3_600_000
    )
    assert "the brokers accept 1000 to 1800000 ms" in found.seen.words
    assert variable("session_timeout_ms") in found.fix


async def test_offsets_expire(doctor: Doctor) -> None:
    """After seven days by default."""
    assert await doctor.sees(OFFSETS_EXPIRE) == []
    [found] = await doctor.but(limits=Limits(longest_outage=timedelta(days=10))).sees(OFFSETS_EXPIRE)
    assert "keeps them for 7 days" in found.seen.words
    assert "reads the whole log again" in found.seen.words
    assert "offsets.retention.minutes" in found.fix


async def test_defaults_of_a_topic_are_told_as_well(doctor: Doctor, kafka: str) -> None:
    """The brokers of tests keep records for ever, and delete them by no other rule."""
    assert await doctor.sees(SHORT_RETENTION) == []
    assert await doctor.sees(COMPACTED_TOPIC) == []
    hasty = await make_topic(kafka, retention_ms=3_600_000)
    assert subjects(await doctor.sees(SHORT_RETENTION, topic=hasty)) == [hasty]


async def test_records_that_were_removed_unread_are_counted(doctor: Doctor, kafka: str, topic: str) -> None:
    await send(kafka, topic, records([event(n) for n in range(10)], partition=1))
    await commit(kafka, topic, {1: 2})
    assert await doctor.sees(RECORDS_GONE) == []
    await delete_records(kafka, topic, 1, before=7)
    [found] = await doctor.sees(RECORDS_GONE)
    assert found.seen.words.startswith("5 records from 2 on were removed")


async def test_topic_copies(cluster: Doctor, three_nodes: ApacheKafka) -> None:
    kafka = three_nodes.bootstrap_servers
    sound = await make_topic(kafka, copies=[[1, 2, 3], [2, 3, 1]], min_insync_replicas=2)
    assert await cluster.sees(TOPIC_COPIES, topic=sound) == []
    lone = await make_topic(kafka, copies=[[1], [2]])
    [found] = await cluster.sees(TOPIC_COPIES, topic=lone)
    assert found.seen.words == "a partition has 1 copy on 3 brokers"
    assert "to 3" in found.fix
    trusting = await make_topic(kafka, copies=[[1, 2, 3]], min_insync_replicas=1)
    [found] = await cluster.sees(TOPIC_COPIES, topic=trusting)
    assert "min.insync.replicas is 1" in found.seen.words


async def test_under_replicated(cluster: Doctor, three_nodes: ApacheKafka) -> None:
    topic = await make_topic(three_nodes.bootstrap_servers, copies=[[1, 2, 3]])
    await three_nodes.in_sync(topic)
    assert await cluster.sees(UNDER_REPLICATED, topic=topic) == []
    node = three_nodes.nodes[2]
    await asyncio.to_thread(node.stop)
    try:
        [found] = await until(lambda: cluster.sees(UNDER_REPLICATED, topic=topic), "a copy is missed")
    finally:
        await three_nodes.restart(node)
        await three_nodes.in_sync(topic)
    assert found.seen.subject == f"{topic}/0"
    assert "2 of 3 copies are up to date (not: broker 3)" in found.seen.words
    assert await cluster.sees(UNDER_REPLICATED, topic=topic) == []


# ---- who may do what ----

TOPIC, GROUP = 2, 3
READ, DESCRIBE = 3, 8
_LITERAL, _ALLOW = 3, 3


class CreateAclsResponse_v1(Response):  # type: ignore[misc]  # noqa: N801 - as aiokafka names its own
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))),
    )


class CreateAclsRequest_v1(RequestStruct):  # type: ignore[misc]  # noqa: N801 - as aiokafka names its own
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = CreateAclsResponse_v1
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class CreateAclsRequest(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """Grants rights, which aiokafka's own client cannot."""

    API_KEY = 30

    def __init__(self, creations: Sequence[tuple[Any, ...]]) -> None:
        self._creations = list(creations)

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._creations)


async def grant(servers: str, kind: int, name: str, operation: int) -> None:
    client = AIOKafkaClient(bootstrap_servers=servers)
    try:
        await client.bootstrap()
        creation = (kind, name, _LITERAL, "User:worker", "*", operation, _ALLOW)
        answer = await client.send(client.get_random_node(), CreateAclsRequest([creation]))
    finally:
        await client.close()
    assert [code for code, _ in answer.results] == [0], answer


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApacheKafka, int]]:
    """A broker that knows who may do what, and the port at which the worker logs in."""
    port = free_port()
    properties: Mapping[str, str] = {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},OPEN://127.0.0.1:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,OPEN:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.open.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_worker="{PASSWORD}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    kafka = asyncio.run(start_apache(tmp_path_factory.mktemp("guarded"), properties=properties))
    yield kafka, port
    kafka.stop()


async def test_kafka_permissions(doctor: Doctor, guarded: tuple[ApacheKafka, int]) -> None:
    kafka, port = guarded
    topic, group = await sound_topic(kafka.bootstrap_servers), f"group-{uuid.uuid4().hex[:8]}"
    await commit(kafka.bootstrap_servers, topic, {0: 0})  # from now on there is a topic of offsets
    worker = doctor.but(
        given={
            **doctor.given,
            variable("kafka_bootstrap_servers"): f"127.0.0.1:{port}",
            variable("kafka_security_protocol"): "SASL_PLAINTEXT",
            variable("kafka_sasl_username"): "worker",
            variable("kafka_sasl_password"): PASSWORD,
            variable("kafka_group_id"): group,
            variable("topic"): topic,
        }
    )
    said = told(await worker.sees(KAFKA_PERMISSIONS))
    assert f"this user may not see topic {topic}" in said
    assert "this user may not use the consumer group" in said
    assert "kafka-acls.sh" in said
    await grant(kafka.bootstrap_servers, TOPIC, topic, READ)
    await grant(kafka.bootstrap_servers, GROUP, group, DESCRIBE)
    [found] = await until(lambda: _only_one(worker), "the broker knows the grants")
    assert found.seen.words == f"this user may see the consumer group {group}, and not join it"
    await grant(kafka.bootstrap_servers, GROUP, group, READ)
    await until(lambda: _none(worker), "nothing is missing")


async def _only_one(worker: Doctor) -> Any:
    found = await worker.sees(KAFKA_PERMISSIONS)
    return found if [each.seen.subject.startswith("group") for each in found] == [True] else None


async def _none(worker: Doctor) -> bool:
    return not await worker.sees(KAFKA_PERMISSIONS)
