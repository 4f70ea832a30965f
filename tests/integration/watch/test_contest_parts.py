"""Parts of contests on a real server: a change is decided from what is noted, as if all were decided anew."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from bson import ObjectId

from projections.content.relationships import CONTENT_CYCLES, CONTENT_RELATIONSHIPS
from projections.kinds import Document
from tests.support.counts import dependencies
from tests.unit.projections.content.events import content_event, folded
from tests.unit.projections.content.test_relationships import one_after_the_other
from worker.contract.identity import stream_object_id
from worker.errors import Retryable
from worker.storage.database import Database
from worker.verify.contests_check import check_contest
from worker.verify.findings import Finding
from worker.verify.run import Checks
from worker.watch.contests.contenders import DOCUMENT, Contenders
from worker.watch.roles import contenders
from worker.watch.sums.attempt import Keys

EDGES = CONTENT_RELATIONSHIPS.target.collection
ROWS = CONTENT_CYCLES.contenders.collection


def engine(database: Database, *, doubting: bool = False) -> Contenders:
    kept = contenders(dependencies(database), doubting=doubting)
    return next(each for each in kept if each.name == CONTENT_CYCLES.name)


def edge(number: int, parent: int, child: int, at: float, *, gone: bool = False) -> Document:
    """What the fold makes of a relationship: its ends are of one kind, so that all may meet."""
    ends = {"parent_id": f"{100 + parent:024x}", "child_id": f"{100 + child:024x}"}
    details = {**ends, "relationship_type": "contains"}
    item = f"{number:024x}"
    events = [content_event("content_related", at, item=item, details=details)]
    if gone:
        events.append(content_event("content_unrelated", at + 0.5, item=item))
    fields = folded(CONTENT_RELATIONSHIPS, events)
    return {"_id": stream_object_id(fields["stream_id"]), "rev": 1, **fields}


def keys_of(edges: Iterable[Document]) -> Keys:
    return frozenset((DOCUMENT, each["_id"]) for each in edges)


async def put(database: Database, one: Document) -> None:
    """Write it as the fold does: what is decided of it is not the fold's."""
    fields = {name: value for name, value in one.items() if name != "_id"}
    await database.collection(EDGES).update_one({"_id": one["_id"]}, {"$set": fields}, upsert=True)


async def stands(database: Database) -> dict[ObjectId, bool]:
    found = await database.collection(EDGES).find({"effective": {"$exists": True}}).to_list(None)
    return {each["_id"]: each["effective"] for each in found}


async def expected(database: Database) -> dict[ObjectId, bool]:
    """Which edges must stand, with all ways walked anew for every edge."""
    found = await database.collection(EDGES).find({"deleted_at": None}).to_list(None)
    return one_after_the_other(found)


async def lost(database: Database) -> set[str]:
    items = await database.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
    return {each["_id"] for each in items}


async def torn(database: Database) -> dict[str, set[Any]]:
    """Keys whose contenders are not of one part."""
    parts: dict[str, set[Any]] = {}
    for row in await database.collection(ROWS).find({}).to_list(None):
        for key in row["keys"]:
            parts.setdefault(key, set()).add(row["part"])
    return {key: labels for key, labels in parts.items() if len(labels) > 1}


async def findings(database: Database) -> list[Finding]:
    checks = await Checks.opened(database, quiescent=True)
    await check_contest(checks.run, CONTENT_CYCLES)
    return list(checks.run.tally.findings)


async def agrees(database: Database) -> None:
    """All that is stored is as it must be: what stands, what waits in the queue, the parts, and `verify` says so."""
    wanted = await expected(database)
    assert await stands(database) == wanted
    assert await lost(database) == {f"content_cycles:{each}" for each, fits in wanted.items() if not fits}
    assert await torn(database) == {}
    assert await findings(database) == []


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_changes_in_any_batches_gives_the_same(database: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a repeatable story
    waiting: list[Document] = []
    for _ in range(60):
        number, (parent, child) = chance.randrange(24), chance.sample(range(9), 2)
        one = edge(number, parent, child, chance.randrange(50), gone=chance.random() < 0.2)
        if chance.random() < 0.1:
            await database.collection(EDGES).delete_one({"_id": one["_id"]})
        else:
            await put(database, one)
        waiting.append(one)
        if chance.random() < 0.3:
            await engine(database).decide(keys_of(waiting))
            assert await stands(database) == await expected(database)
            waiting.clear()
    await engine(database).decide(keys_of(waiting))
    await agrees(database)
    before = await database.collection(EDGES).find({}).sort("_id").to_list(None)
    again = engine(database, doubting=True)
    for one in before:
        await again.remake(DOCUMENT, [one["_id"]])
    assert await database.collection(EDGES).find({}).sort("_id").to_list(None) == before
    await agrees(database)


async def test_two_engines_beside_each_other_some_killed_in_the_middle(database: Database) -> None:
    chance = random.Random(5)  # noqa: S311  # a repeatable story
    moved: list[Document] = []
    done = asyncio.Event()

    async def changing() -> None:
        for _ in range(100):
            parent, child = chance.sample(range(5), 2)
            one = edge(chance.randrange(20), parent, child, chance.randrange(99), gone=chance.random() < 0.2)
            await put(database, one)
            moved.append(one)
        done.set()

    async def deciding(seed: int) -> None:
        dice, kept = random.Random(seed), engine(database)  # noqa: S311
        while not done.is_set():
            attempt = asyncio.create_task(
                kept.decide(keys_of(dice.sample(moved, min(len(moved), dice.randrange(1, 9)))))
            )
            await asyncio.wait([attempt], timeout=dice.choice([0.003, 0.02, None]))
            attempt.cancel()
            with suppress(Retryable, asyncio.CancelledError):
                await attempt

    async with asyncio.TaskGroup() as group:
        group.create_task(changing())
        group.create_task(deciding(1))
        group.create_task(deciding(2))
    kept = engine(database)
    async for page in kept.missed():
        await kept.decide(page)
    await agrees(database)
    assert {*(await stands(database)).values()} == {True, False}


async def test_a_change_in_a_large_part_reads_and_writes_only_what_it_changes(database: Database) -> None:
    """A tree of 400; a leaf more, and a way back up that gives way."""
    tree = [edge(number, number // 3, number + 1, number) for number in range(400)]
    await database.collection(EDGES).insert_many(tree)
    kept = engine(database)
    await kept.decide(keys_of(tree))
    assert len(await database.collection(ROWS).distinct("part")) == 1
    kept.take_changed()
    leaf, back = edge(900, 400, 500, 900), edge(901, 400, 0, 901)
    await put(database, leaf)
    await kept.decide(keys_of([leaf]))
    assert kept.take_changed() == {EDGES: 1, ROWS: 1}
    await put(database, back)
    await kept.decide(keys_of([back]))
    assert kept.take_changed() == {EDGES: 1, ROWS: 1}
    assert (await stands(database))[back["_id"]] is False
    # An edge on the way that is gone lets it stand: that, its contender, and the contender that is gone.
    first = edge(0, 0, 1, 0, gone=True)
    await put(database, first)
    await kept.decide(keys_of([first]))
    assert (await stands(database))[back["_id"]] is (await expected(database))[back["_id"]]
    await agrees(database)


async def test_parts_become_one_where_they_meet_and_fall_apart_in_a_rebuild(database: Database) -> None:
    one, other, bridge = edge(1, 1, 2, 1), edge(2, 3, 4, 2), edge(3, 2, 3, 3)
    await database.collection(EDGES).insert_many([one, other])
    await engine(database).decide(keys_of([one, other]))
    assert len(await database.collection(ROWS).distinct("part")) == 2
    await put(database, bridge)
    await engine(database).decide(keys_of([bridge]))
    assert len(await database.collection(ROWS).distinct("part")) == 1
    await put(database, edge(3, 2, 3, 3, gone=True))
    await engine(database).decide(keys_of([bridge]))
    assert len(await database.collection(ROWS).distinct("part")) == 1
    await engine(database, doubting=True).remake(DOCUMENT, [one["_id"]])
    assert len(await database.collection(ROWS).distinct("part")) == 2
    await agrees(database)


async def test_what_the_release_before_has_noted_is_decided_from_the_documents(database: Database) -> None:
    edges = [edge(1, 1, 2, 1), edge(2, 2, 3, 2), edge(3, 3, 1, 3)]
    await database.collection(EDGES).insert_many(edges)
    await engine(database).decide(keys_of(edges))
    before = {"$unset": {"part": "", "entry": "", "outcome": ""}, "$set": {"contest_version": 1}}
    await database.collection(ROWS).update_many({}, before)
    fourth = edge(4, 3, 9, 0)
    await put(database, fourth)
    await engine(database).decide(keys_of([fourth]))
    await agrees(database)


async def test_what_somebody_has_put_into_contenders_is_found_and_mended(database: Database) -> None:
    edges = [edge(number, number, number + 1, number) for number in range(5)] + [edge(9, 5, 0, 9)]
    await database.collection(EDGES).insert_many(edges)
    await engine(database).decide(keys_of(edges))
    rows = database.collection(ROWS)
    await rows.update_one({"_id": edges[0]["_id"]}, {"$set": {"part": ObjectId()}})
    await rows.update_one({"_id": edges[2]["_id"]}, {"$set": {"outcome": False}})
    await rows.update_one({"_id": edges[4]["_id"]}, {"$set": {"entry": "nothing"}})
    about = Counter(str(each.fault) for each in await findings(database))
    # The first and its two neighbours are kept apart; what is noted of the third is not what it has.
    assert about == {"different": 4, "behind": 1}
    again = engine(database, doubting=True)
    for collection, kind in again.walked:
        names = [
            row["_id"] for row in await database.collection(collection).find({}, {"_id": 1}).to_list(None)
        ]
        await again.remake(kind, await again.unseen(collection, names))
    await agrees(database)
