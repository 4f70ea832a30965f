"""What goes on at the same time: a round is written while the next one is folded, changes are read ahead."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.progress import (
    documents,
    expected,
    highest_versions,
    histories,
    interleaved,
    projector,
    running,
    store,
)
from tests.support.waiting import LIMIT_S, until
from worker.errors import Retryable
from worker.storage.database import Collection, Database
from worker.watch.folds import projector as rounds
from worker.watch.folds.executor import follow_events, highest
from worker.watch.folds.fold import Folded
from worker.watch.folds.writing import Written, write_all


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of a few streams."""
    monkeypatch.setattr(rounds, "_STREAMS_PER_ROUND", 5)


@pytest.mark.usefixtures("narrow")
async def test_while_a_round_is_written_the_next_one_is_folded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, begun = asyncio.Event(), 0

    async def ends_when_the_next_one_begins(
        collection: Collection, results: Sequence[Folded], *, unvalidated: bool
    ) -> Written:
        nonlocal begun
        begun += 1
        if begun == 2:
            second.set()
        await second.wait()
        return await write_all(collection, results, unvalidated=unvalidated)

    monkeypatch.setattr(rounds, "write_all", ends_when_the_next_one_begins)
    await store(database, interleaved(histories(learners=20, events=3)))
    heads = await highest_versions(database)

    async with asyncio.timeout(LIMIT_S):
        await projector(database).project(heads)

    assert await documents(database) == await expected(database)


@pytest.mark.usefixtures("narrow")
async def test_a_stream_is_never_in_two_rounds_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holes and pages send streams round again, while others are on their way."""
    under_way: list[str] = []
    together = begun = 0
    second = asyncio.Event()

    async def watched(collection: Collection, results: Sequence[Folded], *, unvalidated: bool) -> Written:
        nonlocal together, begun
        begun += 1
        if begun == 2:
            second.set()
        streams = [folded.task.stream for folded in results]
        assert not {*streams} & {*under_way}
        together = max(together, len(under_way))
        under_way.extend(streams)
        try:
            await second.wait()  # a slow reader would find the first one done
            return await write_all(collection, results, unvalidated=unvalidated)
        finally:
            for stream in streams:
                under_way.remove(stream)

    monkeypatch.setattr(rounds, "write_all", watched)
    streams = histories(learners=20, events=12)
    await store(database, [event for event in interleaved(streams) if event["version"] not in (3, 8)])
    heads = await highest_versions(database)

    async with asyncio.timeout(LIMIT_S):
        await projector(database, events_per_round=4).project(heads)

    assert together > 0
    assert await documents(database) == await expected(database)
    assert await database.user_progress.distinct("version") == [12]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_round_that_fails_ends_all_of_them_and_leaves_nothing_running(
    database: Database, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    begun = 0

    async def fails_once(collection: Collection, results: Sequence[Folded], *, unvalidated: bool) -> Written:
        nonlocal begun
        begun += 1
        if begun == failing:
            raise Retryable("the server is away")
        return await write_all(collection, results, unvalidated=unvalidated)

    monkeypatch.setattr(rounds, "write_all", fails_once)
    await store(database, interleaved(histories(learners=20, events=3)))
    heads = await highest_versions(database)
    before = asyncio.all_tasks()

    with pytest.raises(Retryable):
        await projector(database).project(heads)
    assert not {task for task in asyncio.all_tasks() - before if "_write_round" in repr(task)}

    await projector(database).project(heads)
    assert await documents(database) == await expected(database)
    assert await database.user_progress.distinct("rev") == [1]


async def test_what_is_read_ahead_moves_no_token_before_it_is_handed_out(database: Database) -> None:
    stream = await follow_events(database, range(256), None)
    await store(database, interleaved(histories(learners=9, events=1)))
    seen: set[str] = set()
    while len(seen) < 3:
        seen |= highest(await stream.next(3 - len(seen), await_ms=500)).keys()
    token = stream.token
    before = asyncio.all_tasks()
    stream.read_ahead(3)
    (ahead,) = asyncio.all_tasks() - before
    await until(ahead.done, "read ahead")
    assert stream.token == token
    seen |= highest(await stream.next(3, await_ms=500)).keys()
    assert stream.token != token
    assert len(seen) == 6
    stream.read_ahead(3)
    await stream.close()

    again = await follow_events(database, range(256), token)
    told: set[str] = set()
    while len(told | seen) < 9:
        told |= highest(await again.next(100, await_ms=500)).keys()
    await again.close()


async def test_a_follower_that_is_behind_misses_and_repeats_no_change(database: Database) -> None:
    async with running(database) as first:
        await first.until_following()
    await store(database, interleaved(histories(learners=12, events=5)))

    async with running(database, changes_per_batch=7) as second:
        await second.until_past(12 * 5)

        assert second.applied() == 12 * 5
