"""Runs that wait: for live work, and what somebody asks of them meanwhile."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from projections.content.versions.projection import COURSE_VERSIONS
from tests.support.clocks import ManualClock
from tests.support.courses import CREATED, STREAM, event_of, sent, version
from tests.support.jobs import CountArguments, Counting, job_run, parts, runner
from tests.support.progress import histories, interleaved, projector, running, store
from tests.support.waiting import until
from worker.jobs import operate
from worker.jobs.context import Progress
from worker.jobs.errors import Cancelled, Impossible
from worker.jobs.runner import Runner
from worker.storage.database import Database
from worker.storage.work_items import fold_item_id
from worker.watch.freshness import Freshness


@dataclass(slots=True)
class Door:
    """A gate that tests open and close."""

    reason: str | None = None

    async def closed(self) -> str | None:
        return self.reason


async def test_a_run_waits_while_live_work_is_behind_and_can_be_cancelled_meanwhile(
    database: Database,
) -> None:
    door, seen = Door("waits: live work is 9.0 s behind"), list[Progress]()
    given = replace(parts(database, look_every_s=0.02), gate=door)
    counting = Counting()
    working = asyncio.create_task(
        Runner(given, "anna@ops-1", seen.append).run(counting.job, CountArguments())
    )
    await until(lambda: any(each.waits == door.reason for each in seen), "the run waits")
    assert counting.began_at == []
    door.reason = None
    await working
    assert counting.counted == [0, 1, 2, 3, 4]

    door.reason = "waits: live work is 9.0 s behind"
    working = asyncio.create_task(
        Runner(given, "anna@ops-1", seen.append).run(counting.job, CountArguments())
    )

    async def cancelled() -> bool:
        [run], _ = await operate.newest(database, limit=1)
        if run.state != "running":
            return False
        await operate.cancel(database, run.run.id, "ben@ops-2", datetime.now(UTC))
        return True

    await until(cancelled, "the run is cancelled")
    with pytest.raises(Cancelled, match="cancelled by ben@ops-2"):
        await working


async def test_a_step_that_does_not_end_is_cut_off_when_its_run_is_cancelled(database: Database) -> None:
    counting = Counting(stops_at=2)
    working = asyncio.create_task(
        runner(database, lease_s=2.0, renewals_per_lease=20.0).run(counting.job, CountArguments())
    )
    await counting.stopped.wait()
    [run], _ = await operate.newest(database, limit=1)
    assert (await operate.cancel(database, run.run.id, "ben@ops-2", datetime.now(UTC))).state == "cancelling"
    with pytest.raises(Cancelled, match="cancelled by ben@ops-2"):
        await working
    assert counting.counted == [0, 1]


async def follow(database: Database) -> None:
    """Have it look as if a worker followed the event store."""
    follows = {"_id": "progress:00", "kind": "group", "owner": "x", "epoch": 9}
    await database.leases.replace_one(
        {"_id": "progress:00"}, {**follows, "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}, upsert=True
    )


async def test_streams_that_rightly_have_no_document_are_no_lag(database: Database) -> None:
    """Of a course without versions there is no history of them; else its events would stop every job for ever."""
    clock = ManualClock()
    freshness = Freshness(database, clock)
    await follow(database)
    await store(database, [event_of(sent("course_created", **CREATED))])
    for _ in range(3):
        assert await freshness.behind_s() == 0.0
        clock.advance(60)
    created, versioned = sent("course_version_created", 1, **version("1.0")), "version_history"
    await store(database, [event_of(created, 2)])
    await projector(database, projection=COURSE_VERSIONS).project({STREAM: 2})
    assert await database.collection(versioned).count_documents({"version": 2}) == 1
    await store(database, [event_of(sent("course_version_deployed", 2, version="1.0"), 3)])
    assert await freshness.behind_s() == 0.0
    clock.advance(60)
    assert await freshness.behind_s() == 60.0, "one that stands there shows that it is behind"


async def test_the_lag_of_live_projections_is_measured_by_what_they_do_not_show(database: Database) -> None:
    clock = ManualClock()
    freshness = Freshness(database, clock)
    streams = histories(learners=3, events=2)
    await store(database, interleaved(streams))

    async def after(seconds: float) -> float:
        clock.advance(seconds)
        return await freshness.behind_s()

    # Nobody follows: there is nothing live to be kept from its work.
    assert [await after(1), await after(1)] == [0.0, 0.0]
    async with running(database) as watcher:
        await watcher.until_current()
        assert [await after(1), await after(1)] == [0.0, 0.0]
    await follow(database)
    more = histories(learners=3, events=1, prefix="late")
    await store(database, interleaved(more))
    assert [await after(1), await after(2), await after(4)] == [0.0, 2.0, 6.0]
    # What is quarantined is no sign of a lag.
    for stream in more:
        item = {"_id": fold_item_id(stream), "event_type": "progress_fold", "data": {}, "status": "failed"}
        await database.analytics_queue.insert_one({**item, "retry_count": 3, "created_at": datetime.now(UTC)})
    assert await after(1) == 0.0
    await database.analytics_queue.delete_many({})
    assert [await after(1), await after(2)] == [0.0, 2.0] or await after(1) > 0
    await projector(database).project(dict.fromkeys(more, 1))
    assert await after(1) == 0.0


async def test_documents_that_somebody_else_wrote_stop_no_run_and_no_list(database: Database) -> None:
    first = await runner(database).run(Counting().job, CountArguments())
    key = first.run.key
    hostile = [
        {**job_run(key, 7), "lock": "count", "epoch": 2**63 - 1},
        {**job_run(key, 8), "arguments": "rm -rf"},
        {**job_run(key, 9), "status": "exploded", "started_at": "yesterday"},
        {**job_run(key, 2), "request": {"what": "dance"}},
        {"_id": 42, "key": key, "number": "many"},
    ]
    await database.job_runs.insert_many(hostile, bypass_document_validation=True)
    counting = Counting()
    result = await runner(database).run(counting.job, CountArguments())
    assert (result.run.status, counting.counted) == ("succeeded", [0, 1, 2, 3, 4])
    seen, unreadable = await operate.newest(database, limit=100)
    assert {each.run.id for each in seen} >= {first.run.id, result.run.id}
    assert len(unreadable) >= 3
    with pytest.raises(Impossible, match="cannot be read"):
        await operate.cancel(database, f"{key}-8", "anna@ops-1", datetime.now(UTC))
