"""`topic check` and `topic apply` on Apache Kafka: what is missing is made, and nothing that is there is lost."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.support.commands import sevenp_worker
from tests.support.kafka import administering
from worker.app.exits import ExitCode
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.topics import topic_ends

DAY_MS = 86_400_000
_OTHERS = ("SEVENP_CONTENT_TOPIC", "SEVENP_ACCOUNT_TOPIC", "SEVENP_BILLING_TOPIC", "SEVENP_WORKER_TOPIC")


def environment(kafka: ApacheKafka, topic: str, **changes: str) -> dict[str, str]:
    wanted = {
        **dict.fromkeys(_OTHERS, "none"),
        "SEVENP_TOPIC_PARTITIONS": "4",
        "SEVENP_TOPIC_REPLICATION": "1",
        "SEVENP_TOPIC_RETENTION_DAYS": "9",
    }
    return {
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SEVENP_TOPIC": topic,
        **wanted,
        **changes,
    }


async def told(given: Mapping[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = await sevenp_worker(given, "topic", *arguments, "--json")
    return ended.code, json.loads(ended.output)


async def configuration(kafka: ApacheKafka, topic: str) -> dict[str, str]:
    async with administering(kafka.bootstrap_servers) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((_, _, _, _, entries),) = answer.resources
    return {entry[0]: entry[1] for entry in entries}


async def make(kafka: ApacheKafka, partitions: int, **settings: str) -> str:
    topic = f"topic-{uuid.uuid4().hex[:12]}"
    named = {name.replace("_", "."): value for name, value in settings.items()}
    async with administering(kafka.bootstrap_servers) as admin:
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=named)])
    assert len(await topic_ends(kafka.bootstrap_servers, topic)) == partitions
    return topic


async def test_an_absent_topic_is_named_shown_and_made(own_broker: ApacheKafka) -> None:
    topic = f"topic-{uuid.uuid4().hex[:12]}"
    given = environment(own_broker, topic)

    code, found = await told(given, "check")
    assert (code, [each["found"] for each in found["differences"]]) == (ExitCode.DIFFERENCE, ["absent"])
    code, shown = await told(given, "apply", "--dry-run")
    assert (code, len(shown["done"]), shown["dry_run"]) == (ExitCode.OK, 1, True)
    assert (await told(given, "check"))[0] == ExitCode.DIFFERENCE

    code, done = await told(given, "apply")
    assert (code, done["left"]) == (ExitCode.OK, [])
    assert len(await topic_ends(own_broker.bootstrap_servers, topic)) == 4
    made = await configuration(own_broker, topic)
    assert (made["retention.ms"], made["cleanup.policy"]) == (str(9 * DAY_MS), "delete")
    assert await told(given, "check") == (ExitCode.OK, {"differences": [], "unknown": {}})
    assert (await told(given, "apply"))[1]["done"] == []


async def test_a_topic_that_is_there_gets_what_it_lacks_and_keeps_what_was_set_for_it(
    own_broker: ApacheKafka,
) -> None:
    topic = await make(
        own_broker, 2, retention_ms="3600000", retention_bytes="1048576", max_message_bytes="777777"
    )
    given = environment(own_broker, topic)
    code, found = await told(given, "check")
    assert code == ExitCode.DIFFERENCE
    assert [each["what"] for each in found["differences"]] == [
        "partitions",
        "retention.ms",
        "retention.bytes",
    ]

    code, done = await told(given, "apply")
    assert (code, done["left"]) == (ExitCode.OK, [])
    assert len(await topic_ends(own_broker.bootstrap_servers, topic)) == 4
    after = await configuration(own_broker, topic)
    assert (after["retention.ms"], after["retention.bytes"]) == (str(9 * DAY_MS), "-1")
    assert after["max.message.bytes"] == "777777"
    assert (await told(given, "check"))[0] == ExitCode.OK


async def test_nothing_shrinks_and_what_only_people_can_mend_is_left_with_its_command(
    own_broker: ApacheKafka,
) -> None:
    topic = await make(own_broker, 7, retention_ms=str(99 * DAY_MS), cleanup_policy="compact")
    given = environment(own_broker, topic, SEVENP_TOPIC_REPLICATION="3")
    before = await configuration(own_broker, topic)

    code, done = await told(given, "apply")
    assert (code, done["done"]) == (ExitCode.DIFFERENCE, [])
    assert [each["what"] for each in done["left"]] == ["replication", "cleanup.policy"]
    assert await configuration(own_broker, topic) == before
    assert len(await topic_ends(own_broker.bootstrap_servers, topic)) == 7


async def test_what_the_brokers_refuse_is_told_in_their_words(own_broker: ApacheKafka) -> None:
    topic = f"topic-{uuid.uuid4().hex[:12]}"
    ended = await sevenp_worker(
        environment(own_broker, topic, SEVENP_TOPIC_REPLICATION="3"), "topic", "apply"
    )

    assert ended.code == ExitCode.USAGE
    assert f"the brokers refuse the change of {topic}: " in ended.error
