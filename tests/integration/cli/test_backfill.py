"""`sevenp-worker backfill` as a process: a pipe, a bar's words, a summary, and the exit code of a bad line."""

import asyncio
import json
import os
import signal
import sys
from functools import partial
from typing import Any

import pytest

from tests.conftest import RunningMongo
from tests.support.commands import LIMIT_S, piped_into
from tests.support.ingest import event
from tests.support.waiting import until
from worker.devstack.servers.topics import topic_ends
from worker.storage.database import Database


@pytest.fixture
def environment(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_TOPIC": topic,
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_OPERATOR": "anna",
    }


def lines(*fields: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in fields)


async def test_a_pipe_is_published_to_its_end_and_a_bad_line_ends_with_1(
    environment: dict[str, str], database: Database, kafka: str, topic: str
) -> None:
    piped = lines(*(event(number) for number in range(5))) + b"no json\n"
    ended = await piped_into(environment, piped, "backfill", "-", "--json")
    assert ended.code == 1, ended.output
    summary = json.loads(ended.output[ended.output.index("{") :])
    assert summary["counts"] == {"published": 5, "invalid": 1, "left_out": 0}
    [example] = summary["outcome"]["examples"]
    assert example.startswith("-, line 6: ")
    assert sum((await topic_ends(kafka, topic)).values()) == 5
    [row] = await database.audit.find({"command": "backfill"}).to_list(None)
    assert (row["status"], row["who"].partition("@")[0]) == ("done", "anna")


@pytest.mark.slow
async def test_ctrl_c_ends_it_while_a_pipe_is_silent_and_the_same_lines_again_go_on(
    environment: dict[str, str], database: Database, kafka: str, topic: str
) -> None:
    past = lines(*(event(number) for number in range(6)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "backfill", "-", "--rate", "3"),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    process.stdin.write(past)
    await process.stdin.drain()
    try:
        await until(partial(published, database, 6), "all lines are published, and more may come")
        process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130, output
    assert b"the same command goes on where it came to" in output
    more = past + lines(event(7))
    ended = await piped_into(environment, more, "backfill", "-", "--rate", "3", "--json")
    assert json.loads(ended.output[ended.output.index("{") :])["counts"]["published"] == 7
    assert sum((await topic_ends(kafka, topic)).values()) == 7


async def published(database: Database, number: int) -> bool:
    run = await database.job_runs.find_one({"job": "backfill"})
    return run is not None and run["counts"].get("published", 0) >= number
