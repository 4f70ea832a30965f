"""What happens to one user, as stored events made by the contract, and sets of such events in any order."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from bson import ObjectId
from hypothesis import strategies as st

from projections.event import StoredEvent
from tests.unit.projections.events import STORED_AT, moment, stored_document
from worker.contract import codec
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES
from worker.contract.source import Source
from worker.storage.documents import event_document

USER = ObjectId("5f0000000000000000000002")
STREAM = f"user_{USER}"


def happened(
    event_type: str, at: float = 0, *, number: int | None = None, user: ObjectId = USER, **details: Any
) -> StoredEvent:
    """One event `at` seconds into the story; `number` decides its id, which otherwise derives from the content."""
    return StoredEvent.from_document(happened_document(event_type, at, number=number, user=user, **details))


def happened_document(
    event_type: str,
    at: float | datetime = 0,
    *,
    number: int | None = None,
    user: ObjectId = USER,
    version: int = 0,
    **details: Any,
) -> dict[str, Any]:
    """The same as `course_events` has it."""
    when = at if isinstance(at, datetime) else moment(at)
    sent = {
        "event_type": event_type,
        "occurred_at": when.isoformat(),
        "user_id": str(user),
        **({"details": details} if details else {}),
    }
    identity = uuid5(NAMESPACE_OID, repr(sent)) if number is None else UUID(int=number)
    value = codec.encode({"event_id": str(identity), **sent})
    decoded = codec.decode_event(value, timestamp=max(when, STORED_AT), types=ALL_TYPES)
    if not isinstance(decoded, Event):
        raise TypeError(f"{event_type} breaks the contract: {decoded}")
    return stored_document(
        event_document(decoded, version, Source("account-events", 0, version), STORED_AT, None)
    )


# Few values of everything, so that ties, repeats and the same field happen all the time.
_TIMES = st.integers(0, 12).map(lambda quarter: quarter * 900)
_EMAILS = st.sampled_from(["Jane@example.com", "jane@example.com", "doe@example.com"])
_NAMES = st.sampled_from(["Jane", "jane_doe"])
_WORDS = st.sampled_from(["Jane", "Doe", "Professor of Art"])
_MAYBE = st.one_of(st.none(), _WORDS)
_PROFILE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("firstName", "lastName", "displayName", "bio"), _MAYBE),
        "avatar": st.sampled_from(
            [None, {}, {"url": "https://a.example/1"}, {"url": None, "thumbnail": "https://a.example/2"}]
        ),
        "social_links": st.sampled_from([None, {"twitter": "@jane"}, {"twitter": None, "github": "jane"}]),
    },
)
_PHONES = st.sampled_from(["+1-555-0123", "+1 555 0123", "+49 30 123456"])
_CONTACT = st.fixed_dictionaries(
    {},
    optional={
        "phone": st.one_of(st.none(), _PHONES),
        "address": st.sampled_from([None, {"city": "Bonn"}, {"city": None, "country": "DE"}]),
    },
)
_PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "theme": _MAYBE,
        "timezone": st.sampled_from([None, "Europe/Berlin", "UTC"]),
        "notifications": st.sampled_from([None, {"push_notifications": False}, {"email_marketing": True}]),
        "privacy": st.sampled_from([None, {"show_progress": None}, {"profile_visibility": "friends"}]),
    },
)
_ROLES = st.sampled_from(["instructor", "admin"])
_STATUSES = st.sampled_from(["active", "suspended"])
_WORDS_LISTS = st.lists(st.sampled_from(["art", "history", "Jane"]), max_size=3)

DETAILS: Mapping[str, st.SearchStrategy[Any]] = {
    "user_registered": st.fixed_dictionaries(
        {"email": _EMAILS, "username": _NAMES},
        optional={
            "profile": _PROFILE,
            "contact": _CONTACT,
            "preferences": _PREFERENCES,
            "roles": st.lists(_ROLES, max_size=2),
            "status": _STATUSES,
            "referral_source": _WORDS,
            "utm_params": st.fixed_dictionaries({}, optional={"source": _WORDS, "medium": _WORDS}),
        },
    ),
    "profile_changed": st.fixed_dictionaries({"profile": _PROFILE}),
    "contact_changed": st.fixed_dictionaries({"contact": _CONTACT}),
    "preferences_changed": st.fixed_dictionaries({"preferences": _PREFERENCES}),
    "email_changed": st.fixed_dictionaries({"email": _EMAILS}),
    "username_changed": st.fixed_dictionaries({"username": _NAMES}),
    "email_verified": st.fixed_dictionaries({}, optional={"email": _EMAILS}),
    "phone_verified": st.fixed_dictionaries({}, optional={"phone": _PHONES}),
    "two_factor_changed": st.fixed_dictionaries({"enabled": st.booleans()}),
    "role_granted": st.fixed_dictionaries({"role": _ROLES}),
    "role_revoked": st.fixed_dictionaries({"role": _ROLES}),
    "account_status_changed": st.fixed_dictionaries({"status": _STATUSES}),
    "keywords_changed": st.fixed_dictionaries({"keywords": _WORDS_LISTS}),
    **dict.fromkeys(("logged_in", "login_failed", "password_changed", "user_deleted"), st.just({})),
}

# Of a life most events are none of its end.
_TYPES = st.sampled_from(
    [*sorted(DETAILS.keys() - {"user_deleted"}) * 3, "user_deleted", *["login_failed"] * 6]
)


def lives(max_size: int = 25) -> st.SearchStrategy[list[StoredEvent]]:
    """Sets of events of one user, every type, with distinct ids in no particular order."""
    one = _TYPES.flatmap(lambda each: st.tuples(st.just(each), _TIMES, DETAILS[each]))
    described = st.lists(one, min_size=1, max_size=max_size)
    return st.tuples(described, st.randoms(use_true_random=False)).map(lambda drawn: _numbered(*drawn))


def _numbered(described: list[tuple[str, float, dict[str, Any]]], chance: Any) -> list[StoredEvent]:
    numbers = chance.sample(range(1, 1 << 32), len(described))
    return [
        happened(event_type, at, number=number, **details)
        for number, (event_type, at, details) in zip(numbers, described, strict=True)
    ]


def golden_life() -> list[StoredEvent]:
    """One life with an event of every kind but its end."""
    return [
        happened(
            "user_registered",
            0,
            email="Instructor@example.com",
            username="john_instructor",
            profile={"firstName": "John", "lastName": "Smith", "avatar": {"url": "https://a.example/1"}},
            preferences={"timezone": "Europe/Berlin", "notifications": {"push_notifications": False}},
            roles=["instructor"],
            utm_params={"source": "google"},
        ),
        happened("profile_changed", 10, profile={"bio": "Professor of Art", "avatar": None}),
        happened("contact_changed", 20, contact={"phone": "+1-555-0123", "address": {"city": "Bonn"}}),
        happened("preferences_changed", 30, preferences={"theme": "dark", "notifications": None}),
        happened("email_changed", 40, email="john@example.com"),
        happened("username_changed", 50, username="John"),
        happened("email_verified", 60),
        happened("phone_verified", 70, phone="+1 555 0123"),
        happened("two_factor_changed", 80, enabled=True),
        happened("role_granted", 90, role="admin"),
        happened("role_revoked", 100, role="instructor"),
        happened("account_status_changed", 110, status="suspended"),
        happened("logged_in", 120),
        *(happened("login_failed", 130 + place) for place in range(5)),
        happened("password_changed", 140),
        happened("keywords_changed", 150, keywords=["art", "history"]),
    ]
