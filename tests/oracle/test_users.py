"""The worker's fold of users and the oracle's agree; where a user was altered the oracle says so."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.account.opening import opening_record
from projections.account.projection import USERS
from projections.event import StoredEvent
from tests.oracle.case import Case
from tests.oracle.stored import Stored
from tests.oracle.users import user_documents
from tests.support.accounts import DETAILS, USER, happened_document
from tests.unit.projections.events import moment, stored_document
from worker.storage.database import Document
from worker.storage.documents import opening_of_entity

_LIFE = st.lists(
    st.sampled_from([*sorted(DETAILS), *["login_failed"] * 6]).flatmap(
        lambda each: st.tuples(st.just(each), st.integers(0, 12).map(lambda at: at * 900), DETAILS[each])
    ),
    min_size=1,
    max_size=20,
)


def case(events: list[Document], *documents: Document, owned: bool = True) -> Case:
    return Case(Stored(events=events, users=documents), owned=frozenset({"users"} if owned else ()))


def stored(life: list[tuple[str, int, dict[str, Any]]]) -> list[Document]:
    return [
        happened_document(kind, at, number=1_000 + version, version=version, **details)
        for version, (kind, at, details) in enumerate(life, start=1)
    ]


def user(events: list[Document]) -> Document:
    folded = USERS.refold([*map(StoredEvent.from_document, events)], None, "live")
    called = {name: claim["value"] for name, claim in folded["claims"].items()}
    return {"_id": USER, "rev": 1, "password_hash": "kept", "stats": {}, **called, **folded}


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(_LIFE)
def test_the_oracle_says_of_any_life_what_the_worker_says(
    life: list[tuple[str, int, dict[str, Any]]],
) -> None:
    events = stored(life)
    document = user(events)
    assert list(user_documents(case(events, *([document] if USERS.has_begun(document) else [])))) == []


_OPENED_AT = 7 * 900 + 1


@settings(deadline=None, max_examples=100)
@given(_LIFE, st.integers(0, 20))
def test_the_oracle_says_of_an_adopted_user_what_the_worker_says(
    life: list[tuple[str, int, dict[str, Any]]], place: int
) -> None:
    """Some events of before come in after the record was adopted; those that happened later do so by nature."""
    before, after = ([each for each in life if (each[1] > _OPENED_AT) is late] for late in (False, True))
    events = stored([*before, *after])
    opened = min(place, len(before))
    record = {
        "_id": USER,
        "username": "Doe",
        "profile": {"firstName": "June"},
        "account": {"roles": ["instructor"], "email_verified": True, "failed_login_attempts": 2},
        "metadata": {"created_at": moment(-900), "login_count": 5},
    }
    stream = f"user_{USER}"
    adopted = opening_of_entity(stream, opened + 1, opening_record(record), b"", moment(_OPENED_AT), "run")
    shifted = [{**each, "version": each["version"] + 1} for each in events[opened:]]
    arrived = [*events[:opened], stored_document(adopted), *shifted]
    assert list(user_documents(case(arrived, user(arrived)))) == []


DAMAGE: dict[str, Callable[[Document], None]] = {
    "profile": lambda each: each["profile"].update(firstName="June"),
    "more": lambda each: each["profile"].update(nickname="J"),
    "attempts": lambda each: each["account"].update(failed_login_attempts=1),
    "roles": lambda each: each["account"].update(roles=[]),
    "count": lambda each: each["metadata"].update(login_count=7),
    "claim": lambda each: each["claims"].pop("email"),
    "email": lambda each: each.pop("email"),
    "stolen": lambda each: each.update(username="other"),
    "behind": lambda each: each.update(version=1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_altered_user_is_told(damage: str) -> None:
    events = stored(
        [
            (
                "user_registered",
                0,
                {"email": "Jane@example.com", "username": "jane", "roles": ["instructor"]},
            ),
            ("profile_changed", 900, {"profile": {"firstName": "Jane"}}),
            ("logged_in", 1_800, {}),
        ]
    )
    document = user(events)
    assert list(user_documents(case(events, document))) == []
    DAMAGE[damage](document)
    assert list(user_documents(case(events, document)))
