"""The benchmark itself, with tiny numbers: everything is started, counted, checked and reported."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as bench
from bench.contestants.field import CONNECT, EQUAL, EVERYTHING, INGEST, Contestant, Start
from bench.contestants.task import Task
from bench.final_documents import write_final_documents
from bench.fixture import fixture
from bench.latency import measure_latency
from bench.records import Workload
from bench.refold import measure_refold
from bench.report import write_result

TINY = bench.Size(
    "bench", 1_000, 1, latency_s=0, refold_rounds=0, limit_ways=((100, 1, "metadata"),), samples=False
)


async def _ends_at_once(_folder: Path, _task: Task) -> Start:
    return Start([sys.executable, "-c", "raise SystemExit('no such setting')"])


BROKEN = Contestant("broken", "nothing", _ends_at_once)


@pytest.mark.long
async def test_a_tiny_benchmark_measures_every_contestant_and_checks_every_goal(tmp_path: Path) -> None:
    field = (INGEST, EVERYTHING, EQUAL, CONNECT, BROKEN)
    result = await bench.measure(TINY, "embedded", field, Console(quiet=True))
    contestants = {each["name"]: each for each in result.data["contestants"]}
    assert "Java" in contestants[CONNECT.name]["absent"]
    assert contestants[BROKEN.name]["absent"].startswith("failed: broken ended with exit code 1")
    for contestant in (INGEST, EVERYTHING, EQUAL):
        assert contestants[contestant.name]["wrong"] == []
        assert min(contestants[contestant.name]["events_per_s"]) > 0
        assert min(contestants[contestant.name]["cpu_us_per_event"]) > 0
    goals = {row.goal.key: row for row in result.goals}
    for key in ("limit", "equal", "everything", "ingest_cpu", "memory"):
        assert goals[key].measured is not None
    assert goals["connector"].met is None
    assert write_result(tmp_path, result).exists()


@pytest.mark.slow
async def test_all_records_are_folded_again_under_a_raised_version() -> None:
    workload = Workload(200, learners=40)
    async with fixture("embedded") as given:
        documents = given.folder / "final"
        documents.mkdir()
        write_final_documents(documents, "refold", workload.records())
        refold = await measure_refold(given, "refold", documents, workload.events)
    assert 0 <= refold.events <= workload.events


@pytest.mark.long
async def test_latency_is_seen_for_every_watched_event() -> None:
    async with fixture("embedded") as given:
        latency = await measure_latency(given, 50, 1)
    assert len(latency.seen) > 0
    assert min(each.seconds for each in latency.seen) > 0
    assert latency.peak_bytes > 0
