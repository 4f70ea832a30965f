"""The benchmark itself, with tiny numbers: everything is started, counted, checked and reported."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as bench
from bench.contestants.field import CONNECT, EQUAL, EVERYTHING, INGEST, SPEC, Contestant, Start
from bench.contestants.task import Task
from bench.final_documents import write_final_documents
from bench.fixture import fixture, publish_workload
from bench.latency import measure_latency
from bench.race import run_once
from bench.records import ManyLearners, Workload
from bench.refold import measure_refold
from bench.report import write_result


async def _ends_at_once(_folder: Path, _task: Task) -> Start:
    return Start([sys.executable, "-c", "raise SystemExit('no such setting')"])


BROKEN = Contestant("broken", "nothing", _ends_at_once)


TINY = bench.Size(
    "bench",
    events=1_000,
    many=600,
    rounds=1,
    field=(INGEST, EQUAL, CONNECT, BROKEN),
    limit_ways=((100, 1, "metadata"),),
    samples=False,
)


@pytest.mark.long
async def test_a_tiny_benchmark_measures_every_contestant_and_checks_every_goal(tmp_path: Path) -> None:
    result = await bench.measure(TINY, "embedded", Console(quiet=True))
    contestants = {each["name"]: each for each in result.data["contestants"]}
    assert "Java" in contestants[CONNECT.name]["absent"]
    assert contestants[BROKEN.name]["absent"].startswith("failed: broken ended with exit code 1")
    measured = [*result.data["many"], contestants[INGEST.name], contestants[EQUAL.name]]
    assert len(measured) == 11
    for each in measured:
        assert each["wrong"] == []
        assert min(each["events_per_s"]) > 0
        assert min(each["cpu_us_per_event"]) > 0
    goals = {row.goal.key: row for row in result.goals}
    for key in ("many_spec", "many_present_ingest", "everything", "equal", "limit", "ingest_cpu", "memory"):
        assert goals[key].measured is not None
    assert goals["connector"].met is None
    assert write_result(tmp_path, result).exists()


@pytest.mark.long
@pytest.mark.parametrize("contestant", [EVERYTHING, SPEC])
async def test_work_that_was_not_done_is_found(contestant: Contestant) -> None:
    """Of every sum of the ledger one more is asked for than there is."""
    async with fixture("embedded") as given:
        published = await publish_workload(given, "many", ManyLearners(240, present=True))
        there = published.expected
        more = replace(
            there,
            records=there.records + 1,
            enrolments=there.enrolments + 1,
            enrolled=there.enrolled + 1,
            dropped=there.dropped + 1,
            quizzes=there.quizzes + 1,
        )
        run = await run_once(given, contestant, replace(published, expected=more))
    assert run.rate == 0
    found = {each.partition(":")[0] for each in run.wrong.split(", ")}
    assert {"user_progress", "learners who left", "quizzes in records"} < found
    assert "enrolments in course statistics" in found
    assert ("welcomes" in found) == ("learners counted" in found) == (contestant is EVERYTHING)


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
