"""Users that the platform kept become the worker's with their owner: each by one event of its own stream."""

from typing import Any

import pytest

from projections.account.projection import USER_CLAIMS, USERS
from projections.catalogue import catalogue_for
from tests.integration.adopt.test_courses import adopt, faults
from tests.integration.watch.test_users import differences, user
from tests.support.accounts import happened_document
from tests.support.counts import NOW, dependencies
from tests.support.progress import projector
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.watch.contests.contenders import DOCUMENT
from worker.watch.roles import contenders


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, catalogue_for({"users"}))
    await apply_schema(opened)
    return opened


def theirs(number: int, **fields: Any) -> Document:
    """A user as a platform keeps it, with fields that the worker knows nothing of."""
    return {
        "_id": user(number),
        "email": f"Jane{number}@example.com",
        "username": f"jane{number}",
        "password_hash": "$2b$12$...",
        "profile": {"firstName": "Jane", "social_links": {"twitter": "@jane"}},
        "account": {
            "status": "active",
            "email_verified": True,
            "failed_login_attempts": 2,
            "roles": ["instructor", "admin"],
            "two_factor_secret": "kept",
        },
        "preferences": {"timezone": "Europe/Berlin"},
        "metadata": {"created_at": NOW, "updated_at": NOW, "login_count": 245, "segment": "b"},
        "stats": {"views": 5},
        **fields,
    }


async def decide(database: Database) -> None:
    kept = next(each for each in contenders(dependencies(database)) if each.name == USER_CLAIMS.name)
    names = await database.users.distinct("_id")
    await kept.decide(frozenset((DOCUMENT, each) for each in names))


async def test_a_user_is_adopted_as_it_was_and_goes_on_from_there(own: Database) -> None:
    await own.users.insert_many([theirs(0), theirs(1, profile={"nickname": "J"})])
    before = await own.users.find_one({"_id": user(0)})
    result = await adopt(own)
    await decide(own)

    assert result.run.counts["documents_adopted"] == 1
    assert result.outcome["set_aside"] == {"unfit": 1}
    found = await own.users.find_one({"_id": user(0)})
    assert found is not None
    assert before is not None
    for name in ("password_hash", "profile", "preferences", "username"):
        assert found[name] == before[name]
    assert found["stats"]["views"] == 5
    assert found["email"] == "jane0@example.com"
    assert found["account"]["two_factor_secret"] == "kept"  # noqa: S105  # not a secret
    assert found["metadata"]["segment"] == "b"
    assert found["metadata"]["login_count"] == 245
    assert found["claims"]["username"]["at"] == NOW
    assert await differences(own) == []

    stored = [
        happened_document("username_changed", 0, number=1, user=user(0), version=2, username="late"),
        happened_document("login_failed", 200_000_000, number=2, user=user(0), version=3),
    ]
    await own.course_events.insert_many(stored)
    await projector(own, projection=USERS).project({f"user_{user(0)}": 3})
    found = await own.users.find_one({"_id": user(0)})
    assert found is not None
    assert found["account"]["failed_login_attempts"] == 3
    assert found["claims"]["username"]["value"] == "jane0"
    assert await differences(own) == []


async def test_who_was_called_so_first_keeps_it_when_the_platform_s_user_is_adopted(own: Database) -> None:
    """A user that events have made wants a name that a user of the platform's has had for years."""
    later = happened_document(
        "user_registered",
        300_000_000,
        number=3,
        user=user(5),
        version=1,
        email="new@example.com",
        username="Jane0",
    )
    await own.users.insert_one(theirs(0))
    await own.course_events.insert_one(later)
    await projector(own, projection=USERS).project({f"user_{user(5)}": 1})
    await decide(own)
    [item] = await own.analytics_queue.find({"event_type": f"{USER_CLAIMS.name}_fold"}).to_list(None)
    assert (item["_id"], item["error_class"]) == (f"user_claims:{user(5)}", "Held")
    await adopt(own)
    await decide(own)
    [item] = await own.analytics_queue.find({"event_type": f"{USER_CLAIMS.name}_fold"}).to_list(None)
    assert item["error_class"] == "Taken"
    assert await differences(own) == []
    assert await faults(own) == {}


async def test_no_role_that_the_platform_took_away_comes_back_with_an_event_of_before(own: Database) -> None:
    """The events were stored while the platform owned users, and a worker with the new owner runs before `adopt`."""
    told: list[tuple[str, Document]] = [
        (
            "user_registered",
            {
                "email": "old@example.com",
                "username": "jane0",
                "roles": ["superuser"],
                "profile": {"bio": "old"},
            },
        ),
        ("two_factor_changed", {"enabled": True}),
        ("contact_changed", {"contact": {"phone": "+1-555-0123"}}),
        ("phone_verified", {}),
    ]
    await own.course_events.insert_many(
        [
            happened_document(kind, n, number=40 + n, user=user(0), version=n, **details)
            for n, (kind, details) in enumerate(told, start=1)
        ]
    )
    await own.users.insert_one(theirs(0))
    before = await own.users.find_one({"_id": user(0)})
    await projector(own, projection=USERS).project({f"user_{user(0)}": len(told)})
    assert await own.users.find_one({"_id": user(0)}) == before

    await adopt(own)
    await decide(own)
    found = await own.users.find_one({"_id": user(0)})
    assert found is not None
    assert before is not None
    assert sorted(found["account"]["roles"]) == ["admin", "instructor"]
    assert found["account"]["two_factor_enabled"] is False
    assert (found["profile"], found["contact"]) == (before["profile"], None)
    assert (found["email"], found["account"]["email_verified"]) == ("jane0@example.com", True)
    assert await differences(own) == []
