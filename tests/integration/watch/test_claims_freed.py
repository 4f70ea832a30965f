"""What is set free goes to the next in order, at once, and no value ever stands in two documents on the way."""

import asyncio
import random
from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest
from bson import ObjectId
from pymongo import monitoring

from tests.conftest import RunningMongo
from tests.integration.watch.listeners import Guillotine
from tests.integration.watch.test_contests import (
    ROWS,
    agrees,
    ask,
    ask_all,
    engine,
    expected,
    findings,
    following,
    handles,
    identity,
    items,
    of,
    own,
)
from tests.support.counts import dependencies
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.watch.contests.contenders import Contenders
from worker.watch.roles import contenders

__all__ = ["own"]


class Duplicates(monitoring.CommandListener):
    """Counts what the server refused because another document has the key, and transactions that were given up."""

    def __init__(self) -> None:
        self.refused = self.aborted = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.aborted += event.command_name == "abortTransaction"

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        errors: Any = event.reply.get("writeErrors", ())
        self.refused += sum(each.get("code") == 11000 for each in errors)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self.refused += event.failure.get("code") == 11000


async def waiting(database: Database) -> dict[str, str]:
    """Items that are not completed, and why."""
    return {name: reason for name, (reason, _) in (await items(database)).items()}


def item(number: int) -> str:
    return f"handle_claims:{identity(number)}"


async def test_a_chain_of_three_moves_up_one_by_one(own: Database) -> None:
    kept = engine(own)
    await ask_all(own, (3, 1, 2), "jane")
    await kept.decide(of(3, 1, 2))
    for first, later in ((1, (2, 3)), (2, (3,)), (3, ())):
        assert await handles(own) == {first: "jane"}
        assert await waiting(own) == {item(each): "Taken" for each in later}
        assert {words for _, words in (await items(own)).values()} <= {
            f"its handle was claimed earlier by document {identity(first)}"
        }
        await own.collection("handles").delete_one({"_id": identity(first)})
        await kept.decide(of(first))
    assert await handles(own) == {}
    assert await own.collection(ROWS).count_documents({}) == 0


@pytest.mark.slow
async def test_free_and_taken_in_one_batch_and_the_gauge_and_the_queue_follow(own: Database) -> None:
    """Everybody moves on by one: each is given what another one has still."""
    async with following(own, "first") as worker:
        for number in range(6):
            await ask(own, number, number, f"name-{number}")
        await ask(own, 9, 90, "name-0")
        await worker.until(lambda: agrees(own), "each has the name it asked for first")
        await worker.until(
            lambda: worker.value("contest_lost_documents", projection="handle_claims") == 1, "one has lost"
        )
        for number in range(6):
            await ask(own, number, 100 + number, f"name-{(number + 1) % 6}")
        await worker.until(lambda: agrees(own), "each has the name that the next one had")
        # Number 9 asked before number 5 did.
        assert (await handles(own))[9] == "name-0"
        await worker.until(lambda: _waits(own, {item(5): "Taken"}), "the queue follows")
        await own.collection("handles").delete_one({"_id": identity(9)})
        await worker.until(lambda: agrees(own), "what is set free goes to the next")
        await worker.until(lambda: _waits(own, {}), "nobody waits any more")
        await worker.until(
            lambda: worker.value("contest_lost_documents", projection="handle_claims") == 0, "none has lost"
        )
    assert await findings(own) == []


async def _waits(database: Database, wanted: Mapping[str, str]) -> bool:
    return await waiting(database) == wanted


@pytest.mark.parametrize("seed", range(3))
async def test_no_value_ever_stands_in_two_documents_and_no_transaction_is_refused(
    own: Database, mongodb: RunningMongo, seed: int
) -> None:
    chance, listener = random.Random(seed), Duplicates()  # noqa: S311  # a repeatable story
    client = make_client(mongodb.uri, listeners=[listener])
    try:
        seen = open_database(client, own.prefix, own.catalogue)
        kept: Contenders = next(
            each for each in contenders(dependencies(seen)) if each.name == "handle_claims"
        )
        moved: set[int] = set()
        for _ in range(80):
            number = chance.randrange(9)
            if chance.random() < 0.15:
                await own.collection("handles").delete_one({"_id": identity(number)})
            else:
                await ask(own, number, chance.randrange(300), chance.choice(["a", "b", "c", "d", None]))
            moved.add(number)
            if chance.random() < 0.3:
                await kept.decide(of(*moved))
                moved.clear()
                assert await handles(own) == await expected(own)
        await kept.decide(of(*moved))
    finally:
        await close(client)
    assert await handles(own) == await expected(own)
    assert (listener.refused, listener.aborted) == (0, 0)
    assert await findings(own) == []


@pytest.mark.slow
async def test_cut_off_in_every_command_the_next_one_ends_with_the_same(
    own: Database, mongodb: RunningMongo
) -> None:
    """Two swap what they are called, and a third one waits; the transaction is cut off further and further on."""
    for at in count(1):
        for number, value in ((1, "a"), (2, "b"), (3, "a")):
            await ask(own, number, number, value)
        await engine(own).decide(of(1, 2, 3))
        await ask(own, 1, 10, "b")
        await ask(own, 2, 11, "a")
        guillotine = Guillotine(at)
        client = make_client(mongodb.uri, listeners=[guillotine])
        try:
            seen = open_database(client, own.prefix, own.catalogue)
            kept = next(each for each in contenders(dependencies(seen)) if each.name == "handle_claims")
            guillotine.target = asyncio.create_task(kept.decide(of(1, 2)))
            await asyncio.gather(guillotine.target, return_exceptions=True)
        finally:
            await close(client)
        await engine(own).decide(of(1, 2))
        assert await handles(own) == {1: "b", 3: "a"}
        assert await waiting(own) == {item(2): "Taken"}
        assert await findings(own) == []
        if len(guillotine.commands) < at:
            break
    assert at > 8


async def test_a_document_of_the_platform_s_that_nobody_told_of_yet_keeps_what_it_has(own: Database) -> None:
    """The worker looks who has a value before it gives it to another: nothing is refused."""
    kept, documents = engine(own), own.collection("handles")
    await documents.insert_one({"_id": identity(8), "handle": "jane"})
    await ask(own, 1, 1, "jane")
    await kept.decide(of(1))
    assert await handles(own) == {8: "jane"}
    assert await items(own) == {
        item(1): ("Held", f"its handle is kept by document {identity(8)}, which is the platform's")
    }
    await documents.delete_one({"_id": identity(8)})
    await kept.decide(of(8))
    assert await handles(own) == {1: "jane"}
    assert await items(own) == {}


async def test_who_has_a_value_is_found_by_its_index(own: Database) -> None:
    await own.collection("handles").insert_one({"_id": ObjectId(), "handle": "jane"})
    wanted = {"handle": {"$in": ["jane", "john"]}}
    plan = await own.collection("handles").find(wanted, {"_id": 1}).explain()
    assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])


async def test_many_who_ask_for_one_value_are_decided_at_once(own: Database) -> None:
    numbers = list(range(300))
    random.Random(1).shuffle(numbers)  # noqa: S311  # a repeatable story
    kept = engine(own)
    for start in range(0, 300, 60):
        some = numbers[start : start + 60]
        await ask_all(own, some, "admin")
        await kept.decide(of(*some))
    assert await handles(own) == {0: "admin"}
    assert len(await items(own)) == 299
    kept.take_changed()
    await ask(own, 150, 1_000, "other")
    await kept.decide(of(150))
    assert kept.take_changed() == {"handles": 1, ROWS: 1}
    assert await handles(own) == {0: "admin", 150: "other"}
    assert await findings(own) == []
