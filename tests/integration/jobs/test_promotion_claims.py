"""Users that are built beside the live ones claim names, too: who has one is decided among the live ones alone."""

from typing import Any

import pytest
from bson import ObjectId

from projections.account.projection import USER_CLAIMS, USERS
from tests.integration.watch.test_users import differences, life, own, registered, store, user
from tests.support.counts import dependencies
from tests.support.followers import working
from tests.support.jobs import runner
from tests.support.progress import projector
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.jobs.runner import Result
from worker.storage.database import Database, Document
from worker.verify.contests_check import check_contest
from worker.verify.run import Checks
from worker.watch.roles import contenders

__all__ = ["own"]

INTO = RebuildInto(into="trial", projection=USERS.name, fold="tests.support.renaming_fold:RENAMING")


async def stored(database: Database) -> None:
    """Three who want to be Jane, the last of whom is John by now, and one who was John before."""
    lives = [
        life(1, registered(1, 30)),
        life(2, registered(2, 10)),
        life(3, registered(3, 20), ("username_changed", 50, {"username": "john"})),
        life(4, registered(4, 5, "john")),
        life(5, registered(5, 6, "kim")),
    ]
    await store(database, [event for each in lives for event in each])


async def decide(database: Database) -> None:
    """What the follower does with all that has moved."""
    kept = next(each for each in contenders(dependencies(database)) if each.name == USER_CLAIMS.name)
    async for page in kept.missed():
        await kept.decide(page)


async def names(database: Database) -> dict[ObjectId, str | None]:
    return {each["_id"]: each.get("username") for each in await database.users.find({}).to_list(None)}


async def waiting(database: Database) -> dict[str, str]:
    items = await database.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
    return {each["_id"]: each["error_class"] for each in items}


async def live(database: Database) -> dict[ObjectId, Document]:
    """All documents, but for what a write always changes."""
    found = await database.users.find({}).to_list(None)
    return {
        each["_id"]: {name: each[name] for name in each if name not in ("rev", "recorded_at")}
        for each in found
    }


async def contest_findings(database: Database) -> list[Any]:
    checks = await Checks.opened(database, quiescent=True)
    await check_contest(checks.run, USER_CLAIMS)
    return list(checks.run.tally.findings)


async def build(database: Database) -> Result:
    return await runner(database).run(REBUILD_INTO, INTO)


async def test_what_is_built_beside_holds_no_name_and_promotion_and_rollback_have_names_decided_anew(
    own: Database,
) -> None:
    await stored(own)
    await projector(own, projection=USERS).project(
        {f"user_{user(n)}": 2 if n == 3 else 1 for n in range(1, 6)}
    )
    await decide(own)
    before, waited = await live(own), await waiting(own)
    assert await names(own) == {
        user(1): None,
        user(2): "jane",
        user(3): None,
        user(4): "john",
        user(5): "kim",
    }

    built = await build(own)

    assert built.outcome["differing"] == 4
    assert await live(own) == before
    shadow = own.home(USERS.target.collection).get_collection(built.outcome["collection"])
    assert await shadow.count_documents({}) == 5
    assert (
        await shadow.count_documents({"$or": [{"username": {"$exists": True}}, {"email": {"$exists": True}}]})
        == 0
    )

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    await decide(own)

    assert promotion.run.counts == {"promoted": 4, "moved": 0, "refused": 0}
    assert await names(own) == {
        user(1): None,
        user(2): "john",
        user(3): None,
        user(4): "jane",
        user(5): "kim",
    }
    assert await contest_findings(own) == []

    undone = await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own)

    assert not ROLLBACK.differs(undone.outcome)
    assert await live(own) == before
    assert await waiting(own) == waited
    assert await contest_findings(own) == []


async def test_users_that_were_lost_come_back_by_a_promotion_and_get_their_names(own: Database) -> None:
    """One who had a name is not there when it is built: somebody else has it meanwhile, until it is promoted."""
    await stored(own)
    await projector(own, projection=USERS).project(
        {f"user_{user(n)}": 2 if n == 3 else 1 for n in range(1, 6)}
    )
    await decide(own)
    before = await live(own)
    await own.users.delete_one({"_id": user(2)})
    await decide(own)
    assert (await names(own))[user(1)] == "jane"
    right = RebuildInto(into="trial", projection=USERS.name)
    assert (await runner(own).run(REBUILD_INTO, right)).run.counts["missing"] == 1
    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    await decide(own)
    assert promotion.run.counts["promoted"] == 1
    assert await live(own) == before
    await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own)
    assert await names(own) == {user(1): "jane", user(3): None, user(4): "john", user(5): "kim"}
    assert await contest_findings(own) == []


@pytest.mark.slow
async def test_beside_a_worker_names_follow_what_is_promoted(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(own)
    async with working(own, monkeypatch, users_owner="worker") as worker:

        async def called(two: str, four: str) -> bool:
            found = await names(own)
            return (found.get(user(2)), found.get(user(4))) == (two, four)

        await worker.until(lambda: called("jane", "john"), "the names are given")
        await build(own)
        promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
        await worker.until(lambda: called("john", "jane"), "they follow what was promoted")
        await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
        await worker.until(lambda: called("jane", "john"), "and what was put back")
    assert await differences(own) == []
    assert await contest_findings(own) == []
