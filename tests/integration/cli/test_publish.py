"""`sevenp-worker publish` as a process: nothing of its input is lost, and what it says is true."""

import asyncio
import gzip
import json
import os
import shlex
import sys
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaClient

from tests.integration.kafka.test_producer import everything
from tests.support.commands import piped_into, sevenp_worker
from tests.support.matrices import one_of_each
from worker.app.exits import ExitCode
from worker.contract.codec import encode
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.export import examples
from worker.devstack.servers.topics import create_topic, topic_ends

# The handed case: no valid JSON, and every byte of it counts.
NUMBERED = [b'{"n":%0200d}' % number for number in range(1, 101)]
TEXT = b"\n".join(NUMBERED) + b"\n"


def servers(kafka: str, topic: str) -> dict[str, str]:
    return {"SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka, "SEVENP_TOPIC": topic}


async def topics(kafka: str) -> set[str]:
    client = AIOKafkaClient(bootstrap_servers=kafka)
    await client.bootstrap()
    try:
        return set((await client.fetch_all_metadata()).topics())
    finally:
        await client.close()


@pytest.mark.parametrize("argument", one_of_each(["-", "/dev/stdin"]))
@pytest.mark.parametrize("packed", [False, True])
async def test_a_pipe_arrives_whole(kafka: str, topic: str, argument: str, packed: bool) -> None:
    content = gzip.compress(TEXT) if packed else TEXT
    ended = await piped_into(servers(kafka, topic), content, "publish", argument)
    assert ended.code == ExitCode.OK, ended.output
    received = await everything(kafka, topic, len(NUMBERED))
    assert sorted(record.value for record in received) == NUMBERED


@pytest.mark.slow
async def test_a_process_substitution_arrives_whole_and_nothing_but_the_summary_is_printed(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    path = tmp_path / "fifo.jsonl"
    path.write_bytes(TEXT)
    publish = shlex.join([sys.executable, "-m", "worker", "publish"])
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{publish} <(cat {shlex.quote(str(path))})"),
        env={**os.environ, **servers(kafka, topic)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (ExitCode.OK, b"")
    assert f"100 records published to {topic}".encode() in output
    assert b"None of them is a valid event (not_json 100)" in output
    assert sorted(r.value for r in await everything(kafka, topic, 100)) == NUMBERED


async def test_lines_that_are_no_valid_events_are_counted(kafka: str, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = [encode(event) for event in examples((INTERACTIONS,)).values()]
    path.write_bytes(b"\n".join([*good, b"{}", b"["]))
    ended = await sevenp_worker(servers(kafka, topic), "publish", str(path))
    assert ended.code == ExitCode.OK
    assert "2 of them are no valid events (missing_field 1, not_json 1)" in ended.output
    assert f"The first is line {len(good) + 1}: missing_field" in ended.output


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
async def test_a_check_sends_nothing_unless_all_are_valid(
    kafka: str, topic: str, tmp_path: Path, piped: bool
) -> None:
    async def publish(content: bytes) -> "tuple[int, str]":
        path = tmp_path / "events.jsonl"
        path.write_bytes(content)
        if piped:
            ended = await piped_into(servers(kafka, topic), content, "publish", "-", "--check")
        else:
            ended = await sevenp_worker(servers(kafka, topic), "publish", str(path), "--check")
        return ended.code, ended.output

    good = b"\n".join(encode(event) for event in examples((INTERACTIONS,)).values())
    code, output = await publish(good + b"\n{}\n")
    assert code == ExitCode.USAGE
    assert f"line {len(examples((INTERACTIONS,))) + 1}: missing_field" in output
    assert "nothing was sent" in output
    code, output = await publish(good)
    assert (code, f"{len(examples((INTERACTIONS,)))} records published" in output) == (ExitCode.OK, True)
    assert sum((await topic_ends(kafka, topic)).values()) == len(examples((INTERACTIONS,)))


async def test_statements_without_an_event_are_left_out_and_counted_by_verb(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    """A time without offset is UTC; one that is none is named with its line."""
    statement = {
        "id": str(uuid.uuid4()),
        "timestamp": "2021-11-29T23:09:00+0000",
        "actor": {"account": {"homePage": "https://learn.example.org", "name": "65a4f0c2e13b7a0001c0ffee"}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
        "object": {"id": "x:1", "definition": {"type": "https://w3id.org/xapi/video/activity-type/video"}},
        "context": {"contextActivities": {"parent": [{"id": "course-v1:one"}]}},
    }
    forum = {"id": "x:2", "definition": {"type": "http://id.tincanapi.com/activitytype/forum-reply"}}
    lines = [
        statement,
        {**statement, "verb": {"id": "http://adlnet.gov/expapi/verbs/voided"}},
        {**statement, "object": forum, "verb": {"id": "http://adlnet.gov/expapi/verbs/commented"}},
        {**statement, "timestamp": "yesterday"},
    ]
    path = tmp_path / "statements.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    own = {**servers(kafka, topic), "SEVENP_XAPI_HOME_PAGE": "https://learn.example.org"}
    ended = await sevenp_worker(own, "publish", str(path), "--format", "xapi")
    assert ended.code == ExitCode.USAGE
    assert "1 record published" in ended.output
    assert "2 statements left out, not of a learner about a video: voided 1, commented 1." in ended.output
    assert "line 4: timestamp is not an ISO 8601 time" in ended.output
    (received,) = await everything(kafka, topic, 1)
    fields = json.loads(received.value or b"")
    assert (fields["user_id"], fields["occurred_at"]) == (
        "65a4f0c2e13b7a0001c0ffee",
        "2021-11-29T23:09:00+00:00",
    )


async def test_a_topic_that_does_not_exist_is_named_and_not_created(kafka: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(TEXT)
    absent = f"absent-{uuid.uuid4().hex[:8]}"
    ended = await sevenp_worker(servers(kafka, absent), "publish", str(path))
    assert ended.code == ExitCode.SCHEMA
    assert f"topic {absent} does not exist on {kafka}: create it" in ended.error
    assert "SEVENP_TOPIC" in ended.error
    assert absent not in await topics(kafka)


@pytest.mark.slow
async def test_what_holds_no_lines_is_refused_and_a_line_too_long_costs_only_itself(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"BZh91AY&SY")
    refused = await sevenp_worker(servers(kafka, topic), "publish", str(path))
    assert (refused.code, "bunzip2" in refused.error) == (ExitCode.USAGE, True)
    path.write_bytes(b"{}\n" + b"x" * 5_000_000 + b"\n{}\n")
    partly = await sevenp_worker(servers(kafka, topic), "publish", str(path))
    assert partly.code == ExitCode.USAGE
    assert "line 2: 5,000,000 bytes" in partly.output
    assert "2 records published" in partly.output
    assert sum((await topic_ends(kafka, topic)).values()) == 2


@pytest.mark.slow
async def test_each_event_goes_to_the_topic_of_its_kind_and_with_a_topic_all_go_there(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    billing, path = f"{topic}-billing", tmp_path / "events.jsonl"
    chosen = [examples()[name] for name in ("view", "promotion_created", "complete")]
    path.write_bytes(b"\n".join([*(encode(event) for event in chosen), b"{}"]))
    environment = {**servers(kafka, topic), "SEVENP_BILLING_TOPIC": billing}
    absent = await sevenp_worker(environment, "publish", str(path))
    assert (absent.code, billing in absent.error) == (ExitCode.SCHEMA, True)
    await create_topic(kafka, billing, 1)
    ended = await sevenp_worker(environment, "publish", str(path))
    assert ended.code == ExitCode.OK, ended.error
    assert f"4 records published to {topic} (3), {billing} (1)" in ended.output
    [promotion] = await everything(kafka, billing, 1)
    assert json.loads(promotion.value) == chosen[1]
    assert promotion.key == chosen[1]["promotion_id"].encode()
    all_there = await sevenp_worker(environment, "publish", str(path), "--topic", billing)
    assert f"4 records published to {billing} in" in all_there.output
    off = await sevenp_worker({**environment, "SEVENP_BILLING_TOPIC": "none"}, "publish", str(path))
    assert off.code != ExitCode.OK
    assert "line 2 is of billing, and SEVENP_BILLING_TOPIC says that none come in" in off.error
