"""What each thing that happens to an account does to the user's document."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.account.login import FAILURES_KEPT, LOCK_AFTER, LOCK_FOR
from projections.account.opening import opening_record
from projections.account.projection import USERS
from projections.event import StoredEvent
from projections.unfit import Unfit
from tests.support.accounts import USER, happened, lives
from tests.unit.projections.events import arrive, moment, stored_document

REGISTERED = happened("user_registered", 0, email="Jane@Example.com", username="Jane_Doe")


def document(*events: StoredEvent) -> dict[str, Any]:
    return USERS.refold(arrive([REGISTERED, *events]), None, "live")


def test_an_account_begins_with_its_registration_and_claims_what_it_is_called_in_small_letters() -> None:
    made = document()
    assert {name: claim["value"] for name, claim in made["claims"].items()} == {
        "email": "jane@example.com",
        "username": "jane_doe",
    }
    assert "email" not in made
    assert made["account"]["status"] == "pending_verification"
    assert made["metadata"]["created_at"] == moment(0)
    # The spec's own rule: the MD5 of the id.
    assert made["metadata"]["shard_key"] == "dfc5a4b5354e3c7e6c31a6b6ae38ac0b"
    assert USERS.has_begun(made)
    assert not USERS.has_begun(USERS.refold(arrive([happened("logged_in", 1)]), None, "live"))


def test_who_says_the_same_again_loses_nothing_and_who_was_called_otherwise_meanwhile_does() -> None:
    again = happened("email_changed", 20, email="jane@example.com")
    assert document(again)["claims"]["email"]["at"] == moment(0)
    meanwhile = happened("email_changed", 10, email="doe@example.com")
    assert document(again, meanwhile)["claims"]["email"]["at"] == moment(20)


def test_who_says_the_same_again_and_again_loses_nothing_either() -> None:
    again = [happened("email_changed", 20 + n, email="jane@example.com") for n in range(300)]
    for events in (again, again[::-1]):
        made = document(happened("email_verified", 10), *events)
        assert made["claims"]["email"]["at"] == moment(0)
        assert made["account"]["email_verified"]


def test_a_part_is_merged_field_by_field_and_null_removes() -> None:
    made = document(
        happened(
            "profile_changed", 10, profile={"firstName": "Jane", "avatar": {"url": "https://a.example/1"}}
        ),
        happened(
            "profile_changed", 20, profile={"lastName": "Doe", "avatar": {"thumbnail": "https://a.example/2"}}
        ),
        happened("profile_changed", 30, profile={"firstName": None}),
        happened("contact_changed", 40, contact={"address": {"city": "Bonn"}}),
        happened("contact_changed", 50, contact={"address": None}),
    )
    assert made["profile"] == {
        "lastName": "Doe",
        "avatar": {"thumbnail": "https://a.example/2", "url": "https://a.example/1"},
    }
    assert made["contact"] is None
    assert made["search_fields"]["full_name"] == "Doe"


def test_failed_logins_lock_and_a_login_undoes_them_in_whatever_order_they_arrive() -> None:
    failed = [happened("login_failed", 10 * n) for n in range(1, LOCK_AFTER + 1)]
    open_still = document(*failed[1:])["account"]
    assert (open_still["failed_login_attempts"], open_still["locked_until"]) == (LOCK_AFTER - 1, None)
    locked = document(*failed)["account"]
    assert locked["locked_until"] == moment(10 * LOCK_AFTER) + LOCK_FOR
    late_login = document(*failed, happened("logged_in", 25))
    assert late_login["account"]["failed_login_attempts"] == LOCK_AFTER - 2
    assert late_login["account"]["locked_until"] is None
    assert late_login["metadata"]["login_count"] == 1
    assert late_login["metadata"]["last_login_at"] == moment(25)
    many = document(*(happened("login_failed", 100 + n) for n in range(FAILURES_KEPT + 20)))["account"]
    assert many["failed_login_attempts"] == FAILURES_KEPT
    assert many["locked_until"] == moment(100 + FAILURES_KEPT + 19) + LOCK_FOR


def test_an_address_is_verified_until_it_is_another() -> None:
    verified = document(happened("email_verified", 10))
    assert verified["account"]["email_verified"]
    assert verified["account"]["status"] == "active"
    changed = [happened("email_verified", 10), happened("email_changed", 20, email="doe@example.com")]
    assert not document(*changed)["account"]["email_verified"]
    assert document(*changed, happened("email_verified", 30))["account"]["email_verified"]
    assert not document(*changed, happened("email_verified", 30, email="jane@example.com"))["account"][
        "email_verified"
    ]
    phone = happened("contact_changed", 40, contact={"phone": "+1-555-0123"})
    assert document(phone, happened("phone_verified", 30, phone="+1 555 0123"))["account"]["phone_verified"]
    assert not document(phone, happened("phone_verified", 30))["account"]["phone_verified"]


def test_roles_status_and_the_rest_of_the_account() -> None:
    made = document(
        happened("role_granted", 10, role="instructor"),
        happened("role_granted", 20, role="admin"),
        happened("role_revoked", 30, role="admin"),
        happened("role_granted", 15, role="admin"),
        happened("two_factor_changed", 40, enabled=True),
        happened("account_status_changed", 50, status="suspended"),
        happened("password_changed", 60),
        happened("password_changed", 55),
    )
    assert made["account"] == {
        "status": "suspended",
        "email_verified": False,
        "phone_verified": False,
        "two_factor_enabled": True,
        "failed_login_attempts": 0,
        "locked_until": None,
        "password_changed_at": moment(60),
        "roles": ["instructor"],
    }


def test_of_an_account_that_has_ended_nothing_personal_is_left_whatever_comes() -> None:
    profile = happened("profile_changed", 10, profile={"firstName": "Jane", "bio": "about me"})
    contact = happened("contact_changed", 200, contact={"phone": "+1-555-0123"})
    ended = document(
        profile,
        happened("user_deleted", 100),
        contact,
        happened("email_verified", 5, email="jane@example.com"),
    )
    assert ended["deleted_at"] == moment(100)
    assert ended["profile"] == {"firstName": "Deleted", "lastName": "User"}
    assert (ended["contact"], ended["preferences"], ended["search_fields"]) == (None, None, None)
    assert ended["account"]["status"] == "deleted"
    assert {name: claim["value"] for name, claim in ended["claims"].items()} == {
        "email": f"deleted_{USER}@example.com"
    }
    for word in ("Jane", "jane", "about", "555"):
        assert word not in str(ended)


def opening(record: dict[str, Any], at: float) -> StoredEvent:
    return replace(REGISTERED, event_type="opening", occurred_at=moment(at), details={"record": record})


def platforms(**changes: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(),
        "email": "jane@example.com",
        "password_hash": "$2b$12$...",
        "profile": {"firstName": "Jane", "lastName": "Doe"},
        "account": {
            "status": "active",
            "email_verified": True,
            "failed_login_attempts": 3,
            "roles": ["instructor"],
        },
        "metadata": {"created_at": moment(-1_000), "login_count": 245, "last_login_at": moment(-50)},
        "stats": {"courses_created": 12},
        **changes,
    }


def test_an_adopted_user_goes_on_where_the_platform_stopped() -> None:
    adopted = opening(opening_record(platforms()), 100)

    def after(*events: StoredEvent) -> dict[str, Any]:
        return USERS.refold(arrive([adopted, *events]), None, "live")

    made = after(happened("logged_in", 90), happened("login_failed", 110), happened("login_failed", 120))
    assert made["metadata"]["login_count"] == 245
    assert made["metadata"]["created_at"] == moment(-1_000)
    assert made["account"]["failed_login_attempts"] == LOCK_AFTER
    assert made["account"]["locked_until"] == moment(120) + LOCK_FOR
    assert made["account"]["email_verified"]
    assert made["claims"]["email"]["at"] == moment(-1_000)
    assert after(happened("logged_in", 130))["account"]["failed_login_attempts"] == 0
    assert after(happened("role_revoked", 140, role="instructor"))["account"]["roles"] == []
    assert (
        after(happened("profile_changed", 50, profile={"firstName": "June"}))["profile"]["firstName"]
        == "Jane"
    )


def test_what_the_platform_took_away_by_itself_does_not_come_back_with_the_events_of_before() -> None:
    """Roles above all: they were given by an event, and taken away by a platform that published none."""
    before = [
        happened(
            "user_registered",
            0,
            email="jane@example.com",
            username="jane",
            roles=["admin"],
            profile={"bio": "taken back"},
            preferences={"theme": "dark"},
            referral_source="a friend",
        ),
        happened("two_factor_changed", 10, enabled=True),
        happened("phone_verified", 20, phone="+1-555-0123"),
        happened("email_verified", 30, email="jane@example.com"),
        happened("keywords_changed", 40, keywords=["art"]),
        happened("account_status_changed", 50, status="suspended"),
    ]
    was = platforms(
        account={"roles": ["instructor"], "phone_verified": False}, contact={"phone": "+1-555-0123"}
    )
    adopted = opening(opening_record(was), 100)
    alone = shown(USERS.refold(arrive([adopted]), None, "live"))
    assert alone["account"]["roles"] == ["instructor"]
    assert alone["account"]["status"] == "pending_verification"
    for place in range(len(before) + 1):
        arrived = arrive([*before[:place], adopted, *before[place:]])
        assert shown(USERS.refold(arrived, None, "live")) == alone
        document: dict[str, Any] | None = None
        for event in arrived:
            document = stored_document(USERS.fold(document, [event], "live"))
        assert document is not None
        assert shown(document) == alone

    later = happened("email_verified", 110, email="jane@example.com")
    verified = USERS.refold(arrive([adopted, later]), None, "live")
    assert (verified["account"]["status"], verified["account"]["email_verified"]) == ("active", True)
    step_by_step = stored_document(USERS.refold(arrive([adopted]), None, "live"))
    [_, event] = arrive([adopted, later])
    assert shown(USERS.fold(step_by_step, [event], "live")) == shown(verified)


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """What readers see, but for what the account would be called."""
    apart = ("version", "recorded_at", "state", "claims")
    return {name: value for name, value in document.items() if name not in apart}


@settings(deadline=None, max_examples=100)
@given(lives(12), st.integers(0, 12))
def test_whatever_was_said_before_a_record_was_adopted_is_in_it(life: list[StoredEvent], place: int) -> None:
    before = [event for event in life if event.event_type != "user_deleted"]
    adopted = opening(opening_record(platforms()), 12 * 900 + 1)
    arrived = arrive([*before[:place], adopted, *before[place:]])
    alone = shown(USERS.refold(arrive([adopted]), None, "live"))
    assert shown(USERS.refold(arrived, None, "live")) == alone


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profile": {"nickname": "J"}}, "profile.nickname"),
        ({"account": {"status": "lost"}}, "account.status"),
        ({"metadata": {"login_count": "many"}}, "metadata.login_count"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_by_the_name_of_the_field(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unfit, match=words.replace(".", r"\.")) as refused:
        opening_record(platforms(**changes))
    assert not any(value in str(refused.value) for value in ("lost", "many"))


def test_a_locked_account_opens_by_itself() -> None:
    assert timedelta(minutes=1) < LOCK_FOR < timedelta(hours=1)
