"""One healthy worker beside one that dies as soon as it holds a group: who holds what, and what stands still."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.support.waiting import LIMIT_S
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.storage.shares import GROUPS

LEASE_S = 1.0
ROUND_S = 0.25


@dataclass
class Watch:
    """What a healthy worker's groups looked like, round after round."""

    rounds: int = 0
    held: list[int] = field(default_factory=list)
    standing: dict[int, int] = field(default_factory=dict)
    longest: int = 0

    def look(self, alive: set[int]) -> None:
        """`alive` are the groups that somebody who lives holds."""
        self.rounds += 1
        self.held.append(len(alive))
        self.standing = {
            group: self.standing.get(group, 0) + 1 for group in range(GROUPS) if group not in alive
        }
        self.longest = max([self.longest, *self.standing.values()])


async def proved(database: Database, name: str) -> GroupLeases:
    """A worker that holds everything, and has for long enough."""
    worker = GroupLeases(database, name, lease_s=LEASE_S)
    async with asyncio.timeout(LIMIT_S):
        while not await database.leases.count_documents({"owner": name, "proved": True}):
            await worker.balance()
            await asyncio.sleep(ROUND_S)
    return worker


@pytest.mark.slow
async def test_a_worker_that_dies_again_and_again_costs_a_healthy_one_next_to_nothing(
    database: Database,
) -> None:
    """Some 20 lives of the other one: each ends in the round in which it holds a group, or after ten."""
    healthy, seen, deaths = await proved(database, "healthy"), Watch(), 0
    doomed, age = GroupLeases(database, "doomed-0", lease_s=LEASE_S), 0
    for _ in range(160):
        await healthy.balance()
        age += 1
        if await doomed.balance() or age > 10:
            deaths += 1
            doomed, age = GroupLeases(database, f"doomed-{deaths}", lease_s=LEASE_S), 0
        seen.look(set(healthy.held))
        await asyncio.sleep(ROUND_S)

    assert deaths >= 12
    assert sum(seen.held) / seen.rounds > GROUPS - 1
    assert min(seen.held) >= GROUPS - 2
    # A lease, the time in which it is anybody's, and a few rounds.
    assert seen.longest * ROUND_S <= 3 * LEASE_S


@pytest.mark.slow
async def test_a_worker_that_lives_gets_its_share(database: Database) -> None:
    healthy = await proved(database, "healthy")
    newcomer = GroupLeases(database, "newcomer", lease_s=LEASE_S)
    async with asyncio.timeout(LIMIT_S):
        while len(newcomer.held) < GROUPS // 2:
            await newcomer.balance()
            await healthy.balance()
            await asyncio.sleep(ROUND_S)
    assert sorted([*healthy.held, *newcomer.held]) == list(range(GROUPS))


async def test_groups_of_a_killed_proved_worker_are_taken_as_soon_as_they_expire(database: Database) -> None:
    await proved(database, "killed")
    heir = GroupLeases(database, "heir", lease_s=LEASE_S)
    async with asyncio.timeout(LIMIT_S):
        while len(heir.held) < GROUPS:
            await heir.balance()
            await asyncio.sleep(ROUND_S)
