"""Users that the worker owns, on a real server: documents follow from the event store, names from all of them."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from projections.account.projection import USER_CLAIMS, USERS
from projections.catalogue import catalogue_for
from projections.event import StoredEvent
from projections.paths import by_path
from tests.oracle.case import Case
from tests.oracle.stored import Stored
from tests.oracle.users import user_documents
from tests.support.accounts import happened_document
from tests.support.counts import dependencies
from tests.support.followers import working
from worker.storage.database import Database, Document, open_database
from worker.storage.documents import void_document
from worker.storage.schema import apply_schema
from worker.verify.run import verify
from worker.watch.recounting import Recount

SECRETS = ("jane", "555-0123", "about myself")


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, catalogue_for(frozenset({"users"})))
    await apply_schema(opened)
    return opened


def user(number: int) -> ObjectId:
    return ObjectId(f"a{number:023x}")


def life(number: int, *events: tuple[str, float, dict[str, Any]]) -> list[Document]:
    """What happened to one user, stored in the order given."""
    return [
        happened_document(
            kind, at, number=1_000 * number + version, user=user(number), version=version, **details
        )
        for version, (kind, at, details) in enumerate(events, start=1)
    ]


def registered(number: int, at: float, username: str = "jane") -> tuple[str, float, dict[str, Any]]:
    profile = {"firstName": "Jane", "bio": "about myself"}
    details = {"username": username, "profile": profile, "contact": {"phone": "+1-555-0123"}}
    return "user_registered", at, {"email": f"jane{number}@example.com", **details}


async def store(database: Database, events: Sequence[Document]) -> None:
    await database.course_events.insert_many(events, ordered=False)


async def users(database: Database) -> dict[ObjectId, Document]:
    return {each["_id"]: each for each in await database.users.find({}).to_list(None)}


async def differences(database: Database) -> list[str]:
    """What the oracle has to say."""
    events = await database.course_events.find({}).to_list(None)
    stored = Stored(events=events, users=[*(await users(database)).values()])
    return list(user_documents(Case(stored, owned=frozenset({"users"}))))


async def agrees(database: Database) -> bool:
    return await differences(database) == []


async def test_users_follow_from_the_store_and_nothing_personal_is_told(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three who want one name, one who leaves, and one whom nobody has registered yet."""
    await own.users.insert_one({"_id": user(9), "email": "kept@example.com", "username": "platform"})
    lives = [
        life(1, registered(1, 30), ("logged_in", 40, {})),
        life(2, registered(2, 10), ("role_granted", 50, {"role": "instructor"})),
        life(3, registered(3, 20, "platform"), ("login_failed", 60, {})),
        life(4, ("profile_changed", 5, {"profile": {"firstName": "Jane"}})),
    ]
    with capture_logs() as said:
        async with working(own, monkeypatch, users_owner="worker") as worker:
            await store(own, [event for each in lives for event in each])
            await worker.until(lambda: agrees(own), "the documents follow")
            assert (await users(own)).keys() == {user(each) for each in (1, 2, 3, 9)}
            platforms = {"password_hash": "$2b$12$kept", "account.two_factor_secret": "kept", "stats.own": 1}
            await own.users.update_one({"_id": user(2)}, {"$set": platforms})
            waiting = await own.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
            assert {each["_id"] for each in waiting} == {f"user_claims:{user(each)}" for each in (1, 3)}
            more = [
                happened_document("user_deleted", 100, number=9_001, user=user(2), version=3),
                happened_document("logged_in", 110, number=9_002, user=user(2), version=4),
            ]
            await store(own, more)
            await worker.until(lambda: agrees(own), "who leaves makes room")
            await worker.until_moved("contest_lost_documents")
            told = str([each.samples for each in worker.metrics.registry.collect()])
    stored = await users(own)
    assert stored[user(1)]["username"] == "jane"
    assert "username" not in stored[user(3)]
    gone = stored[user(2)]
    assert (gone["password_hash"], gone["account"]["two_factor_secret"], gone["stats"]["own"]) == (
        "$2b$12$kept",
        "kept",
        1,
    )
    assert gone["email"] == f"deleted_{user(2)}@example.com"
    stored[user(9)].pop("stats", None)  # of the sums
    assert stored[user(9)] == {"_id": user(9), "email": "kept@example.com", "username": "platform"}
    result = await verify(own, quiescent=True)
    assert [str(each) for each in result.findings if each.kind in (USERS.name, USER_CLAIMS.name)] == []
    items = str(await own.analytics_queue.find({}).to_list(None))
    rows = str(await own.collection(USER_CLAIMS.contenders.collection).find({}).to_list(None))
    for secret in SECRETS:
        assert not any(secret in text.lower() for text in (str(said), told, items, rows)), secret


async def test_any_order_of_arrival_and_a_rebuild_give_the_same_documents(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)  # noqa: S311  # a repeatable order
    told: list[tuple[str, float, dict[str, Any]]] = [
        ("email_changed", 40, {"email": "other@example.com"}),
        ("username_changed", 50, {"username": "jane_doe"}),
        ("username_changed", 60, {"username": "jane"}),
        ("contact_changed", 70, {"contact": {"phone": None}}),
        ("login_failed", 80, {}),
        ("logged_in", 90, {}),
        ("keywords_changed", 100, {"keywords": ["art"]}),
    ]
    lives = []
    for number in range(1, 7):
        events = [registered(number, number), *((kind, at + number, more) for kind, at, more in told)]
        lives.append(life(number, *chance.sample(events, len(events))))
    async with working(own, monkeypatch, users_owner="worker") as worker:
        for arrived in zip(*lives, strict=True):
            await store(own, [*arrived])
        await worker.until(lambda: agrees(own), "the documents follow")
    first = await users(own)
    assert Counter(each.get("email") for each in first.values())["other@example.com"] == 1
    await own.users.delete_many({"_id": {"$in": [user(1), user(2)]}})
    async with working(own, monkeypatch, users_owner="worker") as worker:
        await own.projection_state.delete_many({})
        await worker.until(lambda: agrees(own), "what is lost is folded again")
    again = Recount(dependencies(own), timedelta(0), [USER_CLAIMS.name])
    async for _ in again.everything(None):
        pass
    assert [owned(each) for each in _by_id(await users(own))] == [owned(each) for each in _by_id(first)]


def owned(document: Document) -> Document:
    return {**by_path(document, USERS.dotted), "rev": None, "state": None}


def _by_id(found: dict[ObjectId, Document]) -> Iterable[Document]:
    return [found[each] for each in sorted(found)]


async def test_a_stream_of_nothing_but_voids_has_no_document(own: Database) -> None:
    void = void_document(f"user_{user(1)}", 1, happened_document("logged_in")["recorded_at"])
    folded = USERS.refold([StoredEvent.from_document(void)], None, "live")
    assert not USERS.has_begun(folded)
