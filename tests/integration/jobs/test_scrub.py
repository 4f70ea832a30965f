"""The scrubber walks everything, goes on where it was killed, says what drifted, and mends it where it may."""

import asyncio
from typing import Any

import pytest

from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.history import COURSE, Learner, learner, store
from tests.support.counts import count
from tests.support.jobs import parts
from tests.support.running import sample
from tests.support.scraping import until_moved
from tests.support.settings import changed
from tests.support.waiting import until
from worker.jobs import scrub as scrubbing
from worker.jobs.context import Parts, Progress
from worker.jobs.job import NoArguments
from worker.jobs.runner import Runner
from worker.jobs.scrub import SCRUB
from worker.retry.depths import DepthGauges, measure
from worker.storage.database import Database, Document
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock, cancel_and_wait

EVERYTHING = 100.0


def scrubber(database: Database, observe: Any = lambda _: None, **how: Any) -> Runner:
    given = parts(database, lease_s=2.0)
    settings = given.settings.model_copy(
        update={"scrub": changed(given.settings.scrub, **{"cpu_percent": EVERYTHING, **how})}
    )
    return Runner(Parts(database, settings, given.clock, given.metrics), "anna@ops-1", observe)


async def agreeing(database: Database, names: str = "abcdef") -> list[Learner]:
    everyone = [learner(name) for name in names]
    await store(database, everyone)
    await store_counted(database, counted(everyone), everyone)
    await count(database, courses=[COURSE])
    return everyone


async def damage(database: Database, target: Learner) -> None:
    """A document that differs from its events, and from what was counted of it; a course that shows otherwise."""
    await database.user_progress.update_one(
        {"_id": target.progress["_id"]}, {"$set": {"status": "paused"}}, bypass_document_validation=True
    )
    await database.courses.update_one({"_id": COURSE}, {"$set": {"stats.enrollments.total": 99}})


async def shown(database: Database) -> Document:
    """The gauges that a worker shows; None for what it does not."""
    metrics = Metrics()
    DepthGauges(metrics, SystemClock()).show(await measure(database, ()))
    names = ("documents", "sums", "time_series")
    found = {name: sample(metrics, "sevenp_worker_drift_findings", {"kind": name}) for name in names}
    return {**found, "checked": sample(metrics, "sevenp_worker_drift_checked_timestamp_seconds", {})}


@pytest.mark.slow
async def test_what_drifted_is_reported_in_the_run_and_as_metrics(database: Database) -> None:
    everyone = await agreeing(database)
    before = await shown(database)
    assert before == {"documents": None, "sums": None, "time_series": None, "checked": None}
    metrics = Metrics()
    looking = DepthGauges(metrics, SystemClock())
    looking.show(await measure(database, ()))
    clean = await scrubber(database).run(SCRUB, NoArguments())
    assert (clean.outcome["ok"], clean.run.counts["events"]) == (
        True,
        sum(len(each.events) for each in everyone),
    )
    await damage(database, everyone[2])
    result = await scrubber(database).run(SCRUB, NoArguments())
    assert SCRUB.differs(result.outcome)
    assert result.outcome["drift"] == {"documents": 1, "sums": 2}
    assert result.outcome["projections"] == {"progress": 1, "counts": 1}
    looking.show(await measure(database, ()))
    looking.show(await measure(database, ()))
    counted = {"projection": "progress"}
    assert (
        sample(metrics, "sevenp_worker_projection_drift_documents_total", counted) == 1
    )  # once, however often
    await until_moved(
        metrics,
        "drift_findings",
        "drift_checked_timestamp_seconds",
        "projection_drift_documents_total",
    )
    assert {each["kind"] for each in result.outcome["findings"]} == {
        "progress_different",
        "projection_different",
        "statistics_different",
    }
    after = await shown(database)
    assert (after["documents"], after["sums"], after["time_series"]) == (1, 2, 0)
    assert after["checked"] == pytest.approx(result.run.finished_at.timestamp())  # type: ignore[union-attr]
    assert (await database.user_progress.find_one({"_id": everyone[2].progress["_id"]}) or {})[
        "status"
    ] == "paused"


@pytest.mark.slow
async def test_by_setting_it_mends_what_it_finds(database: Database) -> None:
    everyone = await agreeing(database)
    await damage(database, everyone[2])
    result = await scrubber(database, repair=True).run(SCRUB, NoArguments())
    assert (result.outcome["ok"], result.outcome["drift"]) == (True, {})
    assert (result.run.counts["findings"], result.run.counts["mended"]) == (1, 1)  # what follows from it, too
    assert (await scrubber(database).run(SCRUB, NoArguments())).run.counts["findings"] == 0


@pytest.mark.slow
async def test_killed_in_its_middle_it_goes_on_at_the_next_slice_with_what_it_had_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share so small that it rests for hours after its first slice."""
    monkeypatch.setattr(scrubbing, "STREAMS_A_STEP", 2)
    everyone = sorted(await agreeing(database), key=lambda each: each.stream, reverse=True)
    await damage(database, everyone[0])
    seen: list[Progress] = []
    resting = asyncio.create_task(
        scrubber(database, seen.append, cpu_percent=0.001).run(SCRUB, NoArguments())
    )
    await until(lambda: bool(seen) and seen[-1].done == 2, "the first slice is done")
    assert (await shown(database))["documents"] == 1  # before it is through
    await cancel_and_wait(resting)
    result = await scrubber(database).run(SCRUB, NoArguments())
    assert (result.run.attempts, result.run.counts["events"]) == (
        2,
        sum(len(each.events) for each in everyone),
    )
    assert result.outcome["drift"] == {"documents": 1, "sums": 2}


@pytest.mark.slow
async def test_what_was_found_is_shown_until_a_whole_walk_has_found_less(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "STREAMS_A_STEP", 2)
    everyone = sorted(await agreeing(database), key=lambda each: each.stream)
    await damage(database, everyone[-1])
    await scrubber(database).run(SCRUB, NoArguments())
    seen: list[Progress] = []
    resting = asyncio.create_task(
        scrubber(database, seen.append, cpu_percent=0.001).run(SCRUB, NoArguments())
    )
    await until(lambda: bool(seen) and seen[-1].done == 2, "the next walk has begun, and found nothing")
    assert (await shown(database))["documents"] == 1
    await cancel_and_wait(resting)
