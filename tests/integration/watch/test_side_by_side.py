"""Workers of this release beside workers of the one before: the same sums, and nothing is counted twice."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support.before import (
    MarkersBefore,
    PositionsBefore,
    announce_before,
    counting_before,
)
from tests.support.counts import (
    Learner,
    add_course,
    add_platform,
    assert_counted,
    counting,
    course,
    dirty_keys,
    instructor,
    running,
    snapshot,
    user,
)
from worker.errors import Refused, Retryable
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.storage.models import MODELS
from worker.storage.projection_state import (
    Position,
    Positions,
    begin_migration,
    finish_migration,
    is_migrating,
)
from worker.storage.transactions import Session, Transactions
from worker.storage.validators import validator
from worker.watch.sums.attempt import Keys
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import Counter

EARLY, LATE = ({"_data": f"826{at}2D1C39000000012B0229296E04"} for at in (1, 2))


@pytest.fixture
async def both(database: Database) -> Database:
    """A database that both releases work on: the schema is applied, and one of the workers before lives."""
    validated = validator(MODELS["watch_positions"])
    await database.config.create_collection("watch_positions", validator=validated)
    await announce_before(database, "old")
    await begin_migration(database)
    return database


async def gone(database: Database) -> None:
    """The workers of the release before have ended in good order."""
    await database.leases.delete_many({"_id": "member:counts:old"})


async def count_for_sure(counter: Counter, keys: Keys) -> None:
    """Beside others: whatever conflicts is counted again, as the change stream would have it."""
    while True:
        with suppress(Retryable):
            await counter.count(keys)
            return


@pytest.mark.slow
async def test_both_releases_count_the_same_course_and_the_sums_are_exact_at_any_moment(
    both: Database,
) -> None:
    """The course and its people appear in the middle, and it changes hands: both rest on the markers."""
    learners = [await Learner(course(0), user(n)).enrol().store(both) for n in range(40)]
    everybody = dirty_keys(
        frozenset(each.identity for each in learners),
        frozenset({course(0)}),
        frozenset({instructor(0), instructor(1), *map(user, range(40))}),
    )
    done = asyncio.Event()

    async def follow(counter: Counter) -> None:
        while not done.is_set():
            await count_for_sure(counter, everybody)

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            assert not await snapshot(both, instructors=False)  # they follow a little later
            looks += 1
        return looks

    async with counting_before(both) as before, counting(both) as now:
        tasks = [asyncio.create_task(follow(before)), asyncio.create_task(follow(now))]
        looking = asyncio.create_task(watch())
        for step in range(6):
            await add_platform(both, 1, 40, instructors=2) if step == 1 else None
            await add_course(both, 0, taught_by=step % 2) if step > 1 else None
            for learner in learners:
                await learner.finish(100 + step).store(both)
            await asyncio.sleep(0)
        done.set()
        await asyncio.gather(*tasks)
        assert await looking > 5
        for counter in (before, now):
            await counter.count(everybody)
    assert await both.projection_state.count_documents({"kind": "marker"}) == 0
    assert await both.watch_positions.count_documents({"_id": {"$regex": "^counts:course"}}) == 1
    await gone(both)
    assert await finish_migration(both)
    async with counting(both) as now:
        await now.count(everybody)
    await assert_counted(both)
    (marker,) = await both.projection_state.find({"kind": "marker", "_id": {"$regex": "course"}}).to_list(
        None
    )
    assert marker["instructor_id"] == instructor(1)


@pytest.mark.parametrize("first", [MarkersBefore, WriteConflictMarkers])
async def test_transactions_of_both_releases_conflict_on_the_same_marker(
    both: Database, first: Callable[[Database], MarkersBefore | WriteConflictMarkers]
) -> None:
    second = WriteConflictMarkers if first is MarkersBefore else MarkersBefore
    others = Transactions(both.client)

    async def beside(session: Session) -> None:
        await second(both).touch("course", [course(0)], session)

    async def work(session: Session) -> None:
        await first(both).touch("course", [course(0)], session)
        with pytest.raises(Retryable):
            await others.run(beside)

    transactions = Transactions(both.client)
    try:
        await transactions.run(work)
    finally:
        await transactions.close()
        await others.close()


async def test_what_moves_the_markers_waits_for_nobody_and_loses_no_write(both: Database) -> None:
    """A transaction that wrote a marker where it stood before commits before the move, or not at all."""
    transactions, credit = Transactions(both.client), {course(0): instructor(0)}

    async def work(session: Session) -> None:
        await WriteConflictMarkers(both).touch("course", [course(0)], session, taught_by=credit)
        await gone(both)
        with pytest.raises(Retryable):
            await finish_migration(both)

    try:
        await transactions.run(work)
    finally:
        await transactions.close()
    assert await is_migrating(both)
    assert await finish_migration(both)
    marker = await both.projection_state.find_one({"_id": f"counts:course:{course(0)}"})
    assert marker is not None
    assert marker["instructor_id"] == instructor(0)


async def test_the_session_that_counts_is_handed_on_between_the_releases(both: Database) -> None:
    one, two, three = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    before, now = MarkersBefore(both), WriteConflictMarkers(both)
    assert await before.exchange_session(one) is None
    assert await now.exchange_session(two) == one
    assert await before.exchange_session(three) == two
    await gone(both)
    assert await finish_migration(both)
    assert await now.exchange_session(two) == three
    assert await WriteConflictMarkers(both).exchange_session(one) == two
    await now.release_session(one)
    assert await now.exchange_session(three) is None


async def test_a_group_that_goes_to_and_fro_goes_on_where_the_last_owner_stopped(both: Database) -> None:
    before = PositionsBefore(both, watcher="progress", version=2)
    now = Positions(both, watcher="progress", versions={"progress": 2})
    await before.take({0: 1})
    await before.save({0: 1}, EARLY)
    assert await now.take({0: 2}) == {0: Position(EARLY, {"progress": 2})}
    await now.save({0: 2}, LATE)
    # The one before starts where it had stopped: it folds again, which changes nothing.
    assert await before.take({0: 3}) == {0: (EARLY, 2)}
    assert await now.save({0: 2}, LATE) == 0
    await before.save({0: 3}, LATE)
    assert await now.take({0: 4}) == {0: Position(LATE, {"progress": 2})}
    # What somebody of before, who lost the group, goes on saving concerns nobody.
    await before.save({0: 3}, EARLY)
    assert await now.take({0: 5}) == {0: Position(LATE, {"progress": 2})}


async def test_while_one_of_them_lives_nothing_moves_and_one_that_comes_back_is_refused(
    both: Database,
) -> None:
    await WriteConflictMarkers(both).forget()
    assert await is_migrating(both)
    # Killed: its member's document is there, and for a minute a transaction of its may be open.
    await announce_before(both, "old", expires_in_ms=-30_000)
    assert not await finish_migration(both)
    await announce_before(both, "old", expires_in_ms=-70_000)
    assert await finish_migration(both)
    with pytest.raises(Refused):
        await announce_before(both, "old")
    assert await GroupLeases(both, "new", watcher="counts", groups=1).balance() == {0: 1}


async def test_the_role_that_counts_moves_everything_once_the_last_of_them_has_ended(both: Database) -> None:
    await add_platform(both, 2, 4, instructors=2)
    learners = [await Learner(course(n % 2), user(n)).enrol().store(both) for n in range(4)]
    async with counting_before(both) as before:
        await before.count(dirty_keys(frozenset(each.identity for each in learners)))
    async with running(both, forget_every_s=0.1) as worker:
        await worker.until_counted()
        assert await is_migrating(both)
        await gone(both)

        async def moved() -> bool:
            return not await is_migrating(both)

        await worker.until(moved, "everything moved")
        assert await both.projection_state.count_documents({"kind": "marker"}) == 2
        await add_course(both, 0, taught_by=1)
        for learner in learners:
            await learner.finish().store(both)
        await worker.until_counted()
    await assert_counted(both)
