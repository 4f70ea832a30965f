"""While ingest of the same process is behind, folding waits for more, and takes it in fewer and larger turns."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.progress import RunningProgress, histories, interleaved, running, store
from worker import backlog as backlogs
from worker.backlog import Backlog
from worker.gate import Gate, Switches
from worker.storage.database import Database
from worker.timing import SystemClock
from worker.watch.folds import executor

LARGE = 5_000
FOR_EVER_S = 3_600.0


@pytest.fixture(autouse=True)
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ingest has said once stands for the whole test."""
    monkeypatch.setattr(backlogs, "_BELIEVED_S", FOR_EVER_S)


def large() -> Backlog:
    backlog = Backlog(SystemClock())
    backlog.note(LARGE)
    return backlog


async def followed_once(database: Database) -> None:
    """Whoever follows from now on has nothing to compare."""
    async with running(database) as first:
        await first.until_following()


async def writes(watcher: RunningProgress) -> set[int]:
    """How often each record was written."""
    return {row["rev"] async for row in watcher.database.user_progress.find({}, {"rev": 1})}


async def test_what_comes_in_a_backlog_is_folded_when_it_is_over_each_record_once(database: Database) -> None:
    backlog, streams = large(), histories(learners=20, events=3)
    await followed_once(database)
    settings: dict[str, Any] = {"backlog_pace_s": FOR_EVER_S, "changes_per_batch": 20}
    async with running(database, backlog=backlog, **settings) as watcher:
        await watcher.until(lambda: watcher.groups_held() > 0, "it follows")
        await store(database, interleaved(streams))
        await watcher.lives_on("progress", 2.0)
        assert watcher.changes() == 0
        backlog.note(0)
        await watcher.until_past(20 * 3)
        assert await writes(watcher) == {1}


async def test_nobody_waits_longer_than_the_pace_however_long_the_backlog_lasts(database: Database) -> None:
    await followed_once(database)
    async with running(database, backlog=large(), backlog_pace_s=0.2) as watcher:
        await watcher.until_following()
        await store(database, interleaved(histories(learners=5, events=3)))
        await watcher.until_past(5 * 3)


async def test_who_has_a_rate_does_not_wait_for_a_turn_has_a_second_s_worth_at_most(
    database: Database,
) -> None:
    await followed_once(database)
    gate = Gate(Switches(rates={"progress_per_s": 1_000.0}))
    async with running(database, backlog=large(), backlog_pace_s=FOR_EVER_S, gate=gate) as watcher:
        await watcher.until_following()
        await store(database, interleaved(histories(learners=5, events=3)))
        await watcher.until_past(5 * 3)


async def test_a_stop_ends_the_rest_and_what_was_not_folded_is_told_again(database: Database) -> None:
    streams = histories(learners=10, events=3)
    await followed_once(database)
    async with running(database, backlog=large(), backlog_pace_s=FOR_EVER_S) as resting:
        await resting.until(lambda: resting.groups_held() > 0, "it follows")
        await store(database, interleaved(streams))
        await resting.drain()
        assert resting.changes() == 0
    async with running(database) as last:
        await last.until_past(10 * 3)


async def test_a_stop_within_a_large_turn_waits_for_a_part_of_it_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_STREAMS_PER_PART", 4)
    backlog, streams = large(), histories(learners=20, events=2)
    await followed_once(database)
    async with running(database, backlog=backlog, backlog_pace_s=FOR_EVER_S) as watcher:
        await watcher.until(lambda: watcher.groups_held() > 0, "it follows")
        await store(database, interleaved(streams))
        _stop_after_one_part(watcher)
        backlog.note(0)
        await watcher.until(lambda: watcher.stop.is_set(), "a part was folded")
        await asyncio.wait_for(watcher.task, 60)
    assert await database.user_progress.count_documents({}) == 4
    async with running(database) as last:
        await last.until_past(20 * 2)
        assert await writes(last) == {1}


def _stop_after_one_part(watcher: RunningProgress) -> None:
    followed: Any = watcher.role._executor  # noqa: SLF001  # where a turn's parts go
    apply = followed.apply

    async def stopping(keys: Mapping[str, Any], *, live: bool) -> None:
        await apply(keys, live=live)
        if followed.size(keys):
            watcher.stop.set()

    followed.apply = stopping
