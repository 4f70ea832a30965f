"""The command line, on a real log, real documents and files: all ten invariants, and the exit code."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.conftest import RunningMongo
from tests.oracle import write_ledger
from tests.oracle.seeded.right import at_topic, right_run
from tests.oracle.seeded.run import CANARY, PASSWORD, Run
from tests.support.waiting import LIMIT_S
from worker.storage.database import Database

ROOT = Path(__file__).parents[2]
GROUP = "checked"


class CheckedRun:
    """A right run in place: its documents, its log, its committed offsets, its files."""

    def __init__(self, run: Run, arguments: Sequence[str], folder: Path) -> None:
        self.run = run
        self.folder = folder
        self._arguments = arguments

    async def verdict(self, *further: str) -> tuple[int, str, str]:
        """Exit code, output and errors of the command."""
        command = [sys.executable, "-m", "tests.oracle", *self._arguments, *further]
        finished = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return finished.returncode, finished.stdout, finished.stderr


@pytest.fixture
async def checked(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> CheckedRun:
    run = at_topic(right_run(), topic)
    await run.insert(database)
    await _publish(kafka, run)
    await _commit(kafka, run.committed)
    write_ledger(tmp_path / "ledger", run.ledger)
    (tmp_path / "received").write_text(
        "".join(json.dumps({"key": each.key, "body": each.body}) + "\n" for each in run.received)
    )
    (tmp_path / "metrics").write_text(run.metrics)
    (tmp_path / "log").write_text(run.worker_log)
    databases = ("--mongodb-uri", mongodb.uri, "--prefix", database.prefix)
    files = [
        ("--ledger", "ledger"),
        ("--receiver-log", "received"),
        ("--metrics", "metrics"),
        ("--logs", "log"),
    ]
    named = [part for option, name in files for part in (option, str(tmp_path / name))]
    servers = ("--kafka", kafka, "--topic", topic, "--group", GROUP, "--in-order", "--complete")
    return CheckedRun(
        run, (*databases, *named, *servers, "--canary", CANARY, "--password", PASSWORD), tmp_path
    )


async def _publish(kafka: str, run: Run) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        waiting = [
            await producer.send(
                each.topic, each.value, key=each.key, partition=each.partition, headers=[*each.headers]
            )
            for each in run.log
        ]
        sent = await asyncio.gather(*waiting)
    assert [each.offset for each in sent] == [record.offset for record in run.log]


async def _commit(kafka: str, offsets: Mapping[tuple[str, int], int]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(*place) for place in offsets])
        await consumer.commit({TopicPartition(*place): at for place, at in offsets.items()})
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_all_ten_hold_for_a_right_run(checked: CheckedRun) -> None:
    code, output, errors = await checked.verdict()

    assert (code, output) == (0, "holding: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10\n"), errors


@pytest.mark.slow
async def test_a_violation_is_reported_with_its_number(database: Database, checked: CheckedRun) -> None:
    damaged_row = checked.run.rows[0]
    await database.user_interactions.insert_one(damaged_row)

    code, output, _ = await checked.verdict()

    assert code == 1
    assert output == (
        f"4: row {damaged_row['_id']} is there too often: 2 of 1\nholding: 1, 2, 3, 5, 6, 7, 8, 9, 10\n"
    )


@pytest.mark.slow
async def test_a_record_behind_the_committed_offset_is_seen(
    kafka: str, topic: str, checked: CheckedRun
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        sent = await producer.send_and_wait(topic, b"{", partition=1)

    code, output, _ = await checked.verdict("--json")
    report = json.loads(output)

    assert (code, report["violated"], report["not_checked"]) == (1, [1, 9], {})
    assert [each["sentence"] for each in report["violations"]] == [
        f"the record at {topic}:1:{sent.offset} has no outcome",
        f"partition 1 of {topic} is committed at {sent.offset} and ends at {sent.offset + 1}",
    ]


async def test_what_nobody_could_check_is_reported(checked: CheckedRun, mongodb: RunningMongo) -> None:
    arguments = ("--mongodb-uri", mongodb.uri, "--prefix", "nothing", "--ledger", "/dev/null")
    bare = CheckedRun(checked.run, arguments, checked.folder)

    assert (await bare.verdict())[0] == 0
    code, output, _ = await bare.verdict("--complete", "--invariants", "2,9")
    assert code == 1
    assert output == "not checked of 9: no log and no group, no metrics\nholding: 2, 9\n"


@pytest.mark.slow
async def test_what_cannot_be_read_is_no_verdict(checked: CheckedRun) -> None:
    missing = str(checked.folder / "missing")

    code, output, errors = await checked.verdict("--ledger", missing)

    assert (code, output) == (2, "")
    assert errors.startswith("cannot check: FileNotFoundError")
