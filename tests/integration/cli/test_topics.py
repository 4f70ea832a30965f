"""`topic check` and `topic apply` where the broker tells little, or nothing."""

import uuid

import pytest

from tests.support.commands import sevenp_worker
from worker.app.exits import ExitCode
from worker.devstack.servers.topics import topic_ends


async def test_partitions_are_known_whatever_the_broker_describes(
    settings: dict[str, str], topic: str
) -> None:
    wanted = {**settings, "SEVENP_TOPIC_PARTITIONS": "4", "SEVENP_TOPIC_REPLICATION": "1"}
    ended = await sevenp_worker(wanted, "topic", "check")
    few = await sevenp_worker({**wanted, "SEVENP_TOPIC_PARTITIONS": "5"}, "topic", "check")

    assert (ended.code, few.code) == (ExitCode.OK, ExitCode.DIFFERENCE), ended.output
    assert "No differences." in ended.output
    assert "at least 5" in few.output


@pytest.mark.slow
async def test_an_absent_topic_is_made(settings: dict[str, str], kafka: str) -> None:
    topic = f"topic-{uuid.uuid4().hex[:12]}"
    wanted = {"SEVENP_TOPIC": topic, "SEVENP_TOPIC_PARTITIONS": "3", "SEVENP_TOPIC_REPLICATION": "1"}
    dry = await sevenp_worker({**settings, **wanted}, "topic", "apply", "--dry-run")
    assert dry.code == ExitCode.OK
    assert "created with 3 partitions" in dry.output
    assert (await sevenp_worker({**settings, **wanted}, "topic", "check")).code == ExitCode.DIFFERENCE

    ended = await sevenp_worker({**settings, **wanted}, "topic", "apply")
    assert ended.code == ExitCode.OK, ended.output
    assert len(await topic_ends(kafka, topic)) == 3


async def test_without_a_broker_it_ends_with_4_and_the_setting(settings: dict[str, str]) -> None:
    ended = await sevenp_worker(
        {**settings, "SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "topic", "check", "--json"
    )

    assert ended.code == ExitCode.UNREACHABLE
    assert "SEVENP_KAFKA_BOOTSTRAP_SERVERS" in ended.error
