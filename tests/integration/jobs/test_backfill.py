"""`backfill`: files of the past become events once, from where a killed run came to, and nobody is notified."""

import asyncio
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import event, options, running
from tests.support.jobs import parts
from tests.support.restored import all_committed
from tests.support.waiting import until
from worker.devstack.servers.topics import topic_ends
from worker.ingest.options import IngestOptions
from worker.jobs.backfill import BACKFILL, BackfillArguments
from worker.jobs.context import Parts, Progress
from worker.jobs.runner import Result, Runner
from worker.kafka.resumable import OtherFile
from worker.storage.database import Database
from worker.timing import cancel_and_wait


class OpenGate:
    """Never in the way of a run."""

    async def closed(self) -> str | None:
        return None


def parts_of(database: Database, chosen: IngestOptions) -> Parts:
    given = parts(database, lease_s=2.0)
    groups = {"kafka": chosen.consumer.kafka, "ingest": chosen.settings}
    return replace(given, settings=given.settings.model_copy(update=groups), gate=OpenGate())


async def backfilled(
    database: Database, chosen: IngestOptions, *files: Path, rate: int = 0, **given: Any
) -> Result:
    arguments = BackfillArguments(files=tuple(map(str, files)), rate=rate)
    return await Runner(parts_of(database, chosen), "anna@ops-1").run(BACKFILL, arguments, **given)


def written(path: Path, events: Iterable[Mapping[str, Any]], *others: str) -> Path:
    lines = "\n".join([*(json.dumps(each) for each in events), *others])
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


async def test_files_become_events_of_the_job_and_twice_changes_nothing(
    database: Database, kafka: str, topic: str, tmp_path: Path
) -> None:
    chosen = options(kafka, topic)
    past = [event(number) for number in range(40)]
    files = written(tmp_path / "a.jsonl", past[:15]), written(tmp_path / "b.jsonl.gz", past[15:])
    result = await backfilled(database, chosen, *files)
    assert result.run.counts["published"] == result.run.progress.done == result.run.progress.total == 40
    await backfilled(database, chosen, *files)
    async with running(database, chosen) as ingest:
        await ingest.until(all_committed(kafka, topic), "everything is committed")
        assert (ingest.outcome("stored"), ingest.outcome("duplicate")) == (40, 40)
    await assert_exactly_once(database, past)
    assert await database.course_events.distinct("metadata.origin") == ["backfill"]


async def test_lines_that_are_no_events_are_named_and_not_sent(
    database: Database, kafka: str, topic: str, tmp_path: Path
) -> None:
    past = [event(number) for number in range(3)]
    bad = [json.dumps({**past[0], "event_id": "1"}), "no json", "x" * 5_000_000]
    file = written(tmp_path / "a.jsonl", past, *bad)
    dry = await backfilled(database, options(kafka, topic), file, dry_run=True)
    result = await backfilled(database, options(kafka, topic), file)
    for told in (dry.outcome, result.outcome):
        assert told["invalid"] == 3
        lines = [each.partition(", ")[2].partition(":")[0] for each in told["examples"]]
        assert sorted(lines) == ["line 4", "line 5", "line 6"]
        assert BACKFILL.differs(told)
    assert sum((await topic_ends(kafka, topic)).values()) == 3


@pytest.mark.slow
async def test_a_killed_run_goes_on_at_its_line_and_only_in_the_same_file(
    database: Database, kafka: str, topic: str, tmp_path: Path
) -> None:
    chosen = options(kafka, topic)
    past = [event(number) for number in range(60)]
    file = written(tmp_path / "a.jsonl", past)
    arguments = BackfillArguments(files=(str(file),), rate=10)
    seen: list[Progress] = []
    job = Runner(parts_of(database, chosen), "anna@ops-1", seen.append)
    first = asyncio.create_task(job.run(BACKFILL, arguments))
    await until(lambda: first.done() or (seen and seen[-1].done >= 20), "some lines are published")
    await cancel_and_wait(first)
    done = seen[-1].done
    file.write_text(file.read_text().replace("view", "seek"))
    with pytest.raises(OtherFile, match=r"does not begin with the \d+ lines that were read of it before"):
        await job.run(BACKFILL, arguments)
    written(file, past)
    result = await job.run(BACKFILL, arguments)
    assert result.run.counts["published"] == 60
    assert 60 <= sum((await topic_ends(kafka, topic)).values()) <= 60 + 20 - done % 10
    async with running(database, chosen) as ingest:
        await ingest.until(all_committed(kafka, topic), "everything is committed")
    await assert_exactly_once(database, past)


async def test_no_more_records_a_second_than_asked_for(
    database: Database, kafka: str, topic: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "a.jsonl", (event(number) for number in range(30)))
    result = await backfilled(database, options(kafka, topic), file, rate=10)
    assert result.run.finished_at is not None
    assert (result.run.finished_at - result.run.started_at).total_seconds() >= 2.9


async def test_a_dry_run_asks_no_broker(database: Database, tmp_path: Path) -> None:
    nowhere = options("127.0.0.1:1", "nowhere")
    file = written(tmp_path / "a.jsonl", (event(number) for number in range(3)), "no json")
    result = await backfilled(database, nowhere, file, rate=1, dry_run=True)
    assert result.run.counts == {"published": 3, "invalid": 1, "left_out": 0}
