"""Group leases and positions on a real server, on both drivers."""

import asyncio

from tests.support.waiting import until
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.storage.projection_state import Position, Positions
from worker.storage.shares import GROUPS

TOKEN = {"_data": "826B03A34F000000032B0229296E04"}
LATER = {"_data": "826B03A351000000012B0229296E04"}
NONE = Position(None, {})


async def rounds(*workers: GroupLeases, times: int = GROUPS) -> list[int]:
    """Let each worker balance in turn; how many groups each holds in the end."""
    for _ in range(times):
        for worker in workers:
            await worker.balance()
    return [len(worker.held) for worker in workers]


async def test_a_lone_worker_takes_everything_in_one_round(any_database: Database) -> None:
    held = await GroupLeases(any_database, "a").balance()

    assert held == dict.fromkeys(range(GROUPS), 1)


async def test_renewing_keeps_the_epochs(any_database: Database) -> None:
    worker = GroupLeases(any_database, "a")

    assert await worker.balance() == await worker.balance()


async def test_workers_end_with_fair_shares_and_no_group_twice(any_database: Database) -> None:
    workers = [GroupLeases(any_database, name) for name in ("a", "b", "c")]

    assert await rounds(*workers) == [6, 5, 5]
    groups = [group for worker in workers for group in worker.held]
    assert sorted(groups) == list(range(GROUPS))


async def test_workers_that_balance_at_once_never_hold_the_same_group(any_database: Database) -> None:
    workers = [GroupLeases(any_database, name) for name in ("a", "b", "c", "d")]

    async def all_are_held() -> bool:
        """After a round of all at once: rounds that take long let leases expire, and the next ones take them."""
        await asyncio.gather(*(worker.balance() for worker in workers))
        groups = [group for worker in workers for group in worker.held]
        assert len(groups) == len(set(groups))
        return len(groups) == GROUPS

    for _ in range(GROUPS):
        await all_are_held()
    await until(all_are_held, "each group is held by one of them")


async def test_one_group_too_many_is_released_a_round_once_the_one_before_was_taken(
    any_database: Database,
) -> None:
    first, second = GroupLeases(any_database, "a"), GroupLeases(any_database, "b")
    await first.balance()
    await second.balance()

    assert [len(await first.balance()) for _ in range(3)] == [15, 15, 15]
    assert [len(await second.balance()), len(await first.balance())] == [1, 14]


async def test_the_groups_of_a_dead_worker_are_taken_when_they_expire(any_database: Database) -> None:
    dead = GroupLeases(any_database, "dead", lease_s=3.0)
    await dead.balance()
    heir = GroupLeases(any_database, "heir")
    assert await heir.balance() == {}

    async def inherited() -> bool:
        return len(await heir.balance()) == GROUPS

    await until(inherited, "all groups inherited")
    assert heir.held == dict.fromkeys(range(GROUPS), 2)


async def test_a_late_worker_keeps_what_nobody_took(any_database: Database) -> None:
    worker = GroupLeases(any_database, "a", lease_s=2.0)
    await worker.balance()

    async def expired() -> bool:
        query = {"kind": "group", "$expr": {"$lt": ["$expires_at", "$$NOW"]}}
        return await any_database.leases.count_documents(query) == GROUPS

    await until(expired, "leases expired")
    await worker._renew()  # noqa: SLF001  # the step that decides it, without the claims that follow

    assert {lease["epoch"] for lease in await any_database.leases.find({"kind": "group"}).to_list(None)} == {
        1
    }
    assert not await expired()


async def test_a_late_worker_does_not_get_back_what_somebody_took(any_database: Database) -> None:
    late = GroupLeases(any_database, "late", lease_s=0.05)
    await late.balance()
    heir = GroupLeases(any_database, "heir")

    async def inherited() -> bool:
        return len(await heir.balance()) == GROUPS

    await until(inherited, "all groups inherited")
    await any_database.leases.delete_one({"owner": "heir", "kind": "member"})

    assert await late.balance() == {}


async def test_who_leaves_frees_everything_at_once(any_database: Database) -> None:
    first, second = GroupLeases(any_database, "a"), GroupLeases(any_database, "b")
    await first.balance()
    await first.leave()
    await first.leave()

    assert len(await second.balance()) == GROUPS


async def test_members_that_died_long_ago_are_swept_away(any_database: Database) -> None:
    worker = GroupLeases(any_database, "a")
    await GroupLeases(any_database, "dead").balance()
    an_hour_ago = [{"$set": {"expires_at": {"$subtract": ["$$NOW", 3_600_000]}}}]
    await any_database.leases.update_one({"_id": "member:progress:dead"}, an_hour_ago)

    await worker.balance()

    assert await any_database.leases.count_documents({"kind": "member"}) == 1


async def test_watchers_of_different_names_do_not_meet(any_database: Database) -> None:
    progress, counts = GroupLeases(any_database, "a"), GroupLeases(any_database, "a", watcher="counts")

    assert len(await progress.balance()) == len(await counts.balance()) == GROUPS


async def test_a_position_comes_back_to_whoever_takes_the_group(any_database: Database) -> None:
    positions = Positions(any_database, watcher="progress", versions={"progress": 0})
    assert await positions.take({0: 1, 1: 1}) == {0: NONE, 1: NONE}
    assert await positions.save({0: 1}, TOKEN) == 0

    assert await positions.take({0: 2, 1: 2}) == {0: Position(TOKEN, {"progress": 0}), 1: NONE}


async def test_a_former_owner_saves_nothing_once_somebody_took_the_group(any_database: Database) -> None:
    positions = Positions(any_database, watcher="progress", versions={"progress": 0})
    await positions.take({0: 1, 1: 1})
    await positions.take({0: 2})

    assert await positions.save({0: 1, 1: 1}, TOKEN) == 1
    assert await positions.take({0: 2, 1: 1}) == {0: NONE, 1: Position(TOKEN, {"progress": 0})}


async def test_a_former_owner_cannot_take_a_position_back(any_database: Database) -> None:
    positions = Positions(any_database, watcher="progress", versions={"progress": 0})
    await positions.take({0: 2})

    assert await positions.take({0: 1}) == {}
    assert await positions.save({0: 2}, LATER) == 0


async def test_a_position_tells_which_version_saved_it_and_changes_with_its_token_only(
    any_database: Database,
) -> None:
    old, new = (Positions(any_database, watcher="progress", versions={"progress": n}) for n in (1, 2))
    await new.take({0: 1, 1: 1})
    await new.save({0: 1, 1: 1}, TOKEN)
    await old.take({0: 2})
    assert await new.save({0: 1}, LATER) == 1
    assert await old.save({0: 2}, LATER) == 0

    assert await new.take({0: 3, 1: 2}) == {
        0: Position(LATER, {"progress": 1}),
        1: Position(TOKEN, {"progress": 2}),
    }


async def test_groups_move_from_older_workers_to_newer_ones_and_not_back(any_database: Database) -> None:
    old, new, restarted = (
        GroupLeases(any_database, name, version=version) for name, version in (("o", 1), ("n", 2), ("r", 1))
    )
    assert await rounds(old, times=1) == [GROUPS]
    assert await rounds(old, new) == [8, 8]
    assert await rounds(old, new, restarted) == [5, 11, 0]

    await old.leave()
    assert await rounds(new, restarted) == [GROUPS, 0]
    await new.leave()
    assert await rounds(restarted, times=1) == [GROUPS]
