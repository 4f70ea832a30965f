"""Steps of a job that publishes, beside a worker that follows, or none."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from tests.support.clocks import ManualClock
from tests.support.jobs import parts
from tests.support.progress import histories, interleaved, running, store
from worker.jobs.throttle import SmallSteps
from worker.storage.database import Database, Document
from worker.timing import Clock, SystemClock

MOST = 70


def steps(database: Database, clock: Clock, **jobs: float) -> SmallSteps:
    return SmallSteps(database, parts(database, **jobs).settings.jobs, clock, most=MOST)


def events(learners: int, prefix: str) -> tuple[list[Document], Mapping[UUID, str]]:
    """An event of each of these learners, and the streams of all of them."""
    made = interleaved(histories(learners=learners, events=1, prefix=prefix))
    return made, {each["_id"]: each["stream_id"] for each in made}


async def test_steps_are_large_where_nobody_follows_or_jobs_never_wait(database: Database) -> None:
    clock = ManualClock()
    _, unstored = events(1, "nobody")
    alone = steps(database, clock)
    assert await alone.room() == MOST
    await alone.shown(unstored, clock.monotonic())
    async with running(database) as watcher:
        await watcher.until_following()
        hurried = steps(database, clock, max_lag_s=0.0)
        assert await hurried.room() == MOST
        await hurried.shown(unstored, clock.monotonic())
    assert clock.monotonic() == 0.0


async def test_a_step_ends_when_what_it_published_is_shown(database: Database) -> None:
    async with running(database) as watcher:
        await watcher.until_following()
        clock, sizes = SystemClock(), list[int]()
        at_work = steps(database, clock)
        for number in range(4):
            sizes.append(await at_work.room())
            made, streams = events(sizes[-1], f"step-{number}")
            since = clock.monotonic()
            await store(database, made)
            await at_work.shown(streams, since)
            shown = await database.user_progress.count_documents({"stream_id": {"$in": [*streams.values()]}})
            assert shown >= 0.9 * len(streams)
    assert sizes[:2] == [1, 8]


@pytest.mark.slow
async def test_after_a_worker_has_gone_steps_are_small_and_waited_for(database: Database) -> None:
    clock = ManualClock()
    at_work = steps(database, clock)
    async with running(database) as watcher:
        await watcher.until_following()
        assert await at_work.room() == 1
    for number in range(3):
        made, streams = events(1, f"gone-{number}")
        since = clock.monotonic()
        await store(database, made)
        await at_work.shown(streams, since)
        assert clock.monotonic() - since >= 10
        assert await at_work.room() == 1
