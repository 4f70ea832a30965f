"""Users that are built beside the live ones claim names, too: who has one is decided among the live ones alone."""

import pytest
from bson import ObjectId

from projections.account.projection import USER_CLAIMS, USERS
from tests.integration.watch.test_users import differences, life, own, registered, store, user
from tests.support.contests import contest_findings, decide, kept_fields, waiting
from tests.support.followers import working
from tests.support.jobs import runner
from tests.support.progress import projector
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.jobs.runner import Result
from worker.storage.database import Database

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


async def names(database: Database) -> dict[ObjectId, str | None]:
    return {each["_id"]: each.get("username") for each in await database.users.find({}).to_list(None)}


async def build(database: Database) -> Result:
    return await runner(database).run(REBUILD_INTO, INTO)


async def test_what_is_built_beside_holds_no_name_and_promotion_and_rollback_have_names_decided_anew(
    own: Database,
) -> None:
    await stored(own)
    await projector(own, projection=USERS).project(
        {f"user_{user(n)}": 2 if n == 3 else 1 for n in range(1, 6)}
    )
    await decide(own, USER_CLAIMS)
    before, waited = await kept_fields(own.users), await waiting(own)
    assert await names(own) == {
        user(1): None,
        user(2): "jane",
        user(3): None,
        user(4): "john",
        user(5): "kim",
    }

    built = await build(own)

    assert built.outcome["differing"] == 4
    assert await kept_fields(own.users) == before
    shadow = own.home(USERS.target.collection).get_collection(built.outcome["collection"])
    assert await shadow.count_documents({}) == 5
    assert (
        await shadow.count_documents({"$or": [{"username": {"$exists": True}}, {"email": {"$exists": True}}]})
        == 0
    )

    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    await decide(own, USER_CLAIMS)

    assert promotion.run.counts == {"promoted": 4, "moved": 0, "refused": 0}
    assert await names(own) == {
        user(1): None,
        user(2): "john",
        user(3): None,
        user(4): "jane",
        user(5): "kim",
    }
    assert await contest_findings(own, USER_CLAIMS) == []

    undone = await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own, USER_CLAIMS)

    assert not ROLLBACK.differs(undone.outcome)
    assert await kept_fields(own.users) == before
    assert await waiting(own) == waited
    assert await contest_findings(own, USER_CLAIMS) == []


async def test_users_that_were_lost_come_back_by_a_promotion_and_get_their_names(own: Database) -> None:
    """One who had a name is not there when it is built: somebody else has it meanwhile, until it is promoted."""
    await stored(own)
    await projector(own, projection=USERS).project(
        {f"user_{user(n)}": 2 if n == 3 else 1 for n in range(1, 6)}
    )
    await decide(own, USER_CLAIMS)
    before = await kept_fields(own.users)
    await own.users.delete_one({"_id": user(2)})
    await decide(own, USER_CLAIMS)
    assert (await names(own))[user(1)] == "jane"
    right = RebuildInto(into="trial", projection=USERS.name)
    assert (await runner(own).run(REBUILD_INTO, right)).run.counts["missing"] == 1
    promotion = await runner(own).run(PROMOTE, Promote(into="trial"))
    await decide(own, USER_CLAIMS)
    assert promotion.run.counts["promoted"] == 1
    assert await kept_fields(own.users) == before
    await runner(own).run(ROLLBACK, Rollback(promotion=promotion.run.id))
    await decide(own, USER_CLAIMS)
    assert await names(own) == {user(1): "jane", user(3): None, user(4): "john", user(5): "kim"}
    assert await contest_findings(own, USER_CLAIMS) == []


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
    assert await contest_findings(own, USER_CLAIMS) == []
