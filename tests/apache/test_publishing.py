"""A broker that creates whatever topic it is asked about: publishing asks so that it does not."""

from pathlib import Path

import pytest

from tests.integration.cli.test_publish import TEXT, servers, topics
from tests.support.commands import sevenp_worker
from worker.app.exits import ExitCode
from worker.devstack.servers.apache.cluster import start_apache

ABSENT = "nobody-made-it"


@pytest.mark.parametrize("command", ["publish", "run"])
async def test_a_topic_that_does_not_exist_is_not_created_although_the_broker_would(
    tmp_path: Path, command: str
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(TEXT)
    kafka = await start_apache(tmp_path / "kafka", properties={"auto.create.topics.enable": "true"})
    try:
        arguments = [command, str(path)] if command == "publish" else [command]
        environment = {**servers(kafka.bootstrap_servers, ABSENT), "SEVENP_HTTP_PORT": "0"}
        ended = await sevenp_worker(environment, *arguments)
        assert ended.code == ExitCode.SCHEMA, ended.output
        assert f"topic {ABSENT} does not exist" in ended.error
        assert ABSENT not in await topics(kafka.bootstrap_servers)
    finally:
        kafka.stop()
