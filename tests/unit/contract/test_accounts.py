"""Events about accounts: what is a person's lies apart, what is a secret comes in nowhere, and names have rules."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.unit.contract.records import ALL_EXAMPLES, accepted, decoded, fields, refused
from worker.contract.event import Event
from worker.contract.events.accounts import ACCOUNTS
from worker.contract.export import json_schema
from worker.contract.family import Inlet
from worker.contract.people import one_spelling, time_zones
from worker.contract.rejection import Rejected, RejectReason

SCHEMA = Draft202012Validator(json_schema(Inlet.ACCOUNTS), format_checker=Draft202012Validator.FORMAT_CHECKER)
SECRETS = ("instructor@", "john", "smith", "555", "university", "professor", "programming")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("event_type", ACCOUNTS.events)
def test_what_says_who_somebody_is_lies_apart_and_examples_are_valid(event_type: str) -> None:
    SCHEMA.validate(ALL_EXAMPLES[event_type])
    event = accepted(ALL_EXAMPLES[event_type])
    assert event.stream_id == f"user_{event.user_id}"
    told = " ".join(texts(event.details)).lower()
    assert not [each for each in SECRETS if each in told]
    whole = {**event.details, **(event.personal or {})}
    assert whole == ALL_EXAMPLES[event_type].get("details", {})


_PARTS = {
    "email": lambda value: fields("email_changed", details={"email": value}),
    "username": lambda value: fields("username_changed", details={"username": value}),
    "phone": lambda value: fields("contact_changed", details={"contact": {"phone": value}}),
    "timezone": lambda value: fields("preferences_changed", details={"preferences": {"timezone": value}}),
    "language": lambda value: fields("preferences_changed", details={"preferences": {"language": value}}),
    "role": lambda value: fields("role_granted", details={"role": value}),
}
_GOOD: Mapping[str, list[Any]] = {
    "email": ["jane@example.com", "Jane.Doe+tag@mail.example.co.uk", "j\u00fcrgen@b\u00fccher.example.com"],
    "username": ["john_instructor", "J.D", "a-1", "x" * 64],
    "phone": ["+1-555-0123", "+49 (30) 1234567", "+4915112345678", None],
    "timezone": ["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC", None],
    "language": ["en", "pt-BR", "zh-Hant", "zh-Hant-TW", "es-419", None],
    "role": ["instructor", "content_creator"],
}
_BAD: Mapping[str, list[Any]] = {
    "email": [
        "",
        "jane",
        "jane@",
        "@example.com",
        "jane@example",
        "jane@local.test",
        "a b@example.com",
        None,
        1,
    ],
    "username": ["", "jd", "x" * 65, "_jd", "john doe", "john@doe", "jane\n", None],
    "phone": ["555-0199", "+1", "+0-555-0123", "4111111111111111", "+12345678901234567", "+1-555-0123\n", 1],
    "timezone": ["Europe/Atlantis", "", "europe/berlin", 1],
    "language": ["", "EN", "english", "en_US", "en\n", 1],
    "role": ["", "Admin", "1st", "a b", "admin\n", None],
}
# Of an address the schema says only that it is one: what it is called by JSON Schema is more than mail takes.
_UNSAID = {"jane@", "@example.com", "jane@example", "jane@local.test", "a b@example.com"}


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, some in _GOOD.items() for each in some])
def test_names_of_people_that_are_taken(name: str, value: Any) -> None:
    record = _PARTS[name](value)
    SCHEMA.validate(record)
    accepted(record)


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, some in _BAD.items() for each in some])
def test_names_of_people_that_are_refused_in_words_without_them(name: str, value: Any) -> None:
    record = _PARTS[name](value)
    assert value in _UNSAID or not SCHEMA.is_valid(record)
    found = decoded(record)
    assert isinstance(found, Rejected)
    assert found.reason in (RejectReason.INVALID_FIELD, RejectReason.CARD_NUMBER)
    assert not isinstance(value, str) or len(value) < 3 or value not in found.message


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"profile": {"password_hash": "$2b$12$x"}}, RejectReason.FORBIDDEN_FIELD),
        ({"profile": {"bio": "my card is 4111 1111 1111 1111"}}, RejectReason.CARD_NUMBER),
        ({"profile": {"social_links": {"ssn": "1"}}}, RejectReason.FORBIDDEN_FIELD),
        ({"profile": {"nickname": "J"}}, RejectReason.UNKNOWN_FIELD),
        ({"profile": {}, "more": 1}, RejectReason.UNKNOWN_FIELD),
    ],
)
def test_secrets_and_what_nobody_has_named_are_refused_wherever_they_stand(
    details: dict[str, Any], reason: RejectReason
) -> None:
    assert refused(fields("profile_changed", details=details))[0] is reason


SECRET_KEYS = (
    *(
        "password",
        "password_hash",
        "passwordHash",
        "hash",
        "salt",
        "secret",
        "two_factor_secret",
        "otp",
        "pin",
    ),
    *("token", "access_token", "refreshToken", "api_key", "session_key", "ssn", "card_number", "cvv"),
)


def with_key(value: Any, key: str) -> Iterator[Any]:
    """The value with this key put in, once at each place where it can stand."""
    if isinstance(value, dict):
        yield {**value, key: "x"}
        for name, inner in value.items():
            for each in with_key(inner, key):
                yield {**value, name: each}


@pytest.mark.parametrize("event_type", ACCOUNTS.events)
def test_no_key_of_a_secret_has_a_place_anywhere_in_an_event(event_type: str) -> None:
    example = {"details": {}, **ALL_EXAMPLES[event_type]}
    for record in (each for key in SECRET_KEYS for each in with_key(example, key)):
        reason, _ = refused(record)
        assert reason in (RejectReason.FORBIDDEN_FIELD, RejectReason.UNKNOWN_FIELD)


def test_the_name_of_an_unknown_field_is_not_told() -> None:
    written = fields("profile_changed", details={"profile": {"jane@example.com": 1}})
    assert refused(written) == (RejectReason.UNKNOWN_FIELD, "details.profile.*")
    assert refused(fields("logged_in", **{"jane@example.com": 1})) == (RejectReason.UNKNOWN_FIELD, "*")


def test_two_spellings_are_one_account() -> None:
    assert one_spelling("Jane@Example.COM") == "jane@example.com"
    assert one_spelling("Ju\u0308rgen") == "j\u00fcrgen"


def test_time_zones_are_those_of_the_database_that_comes_with_the_worker() -> None:
    assert {"UTC", "Europe/Berlin", "Asia/Kolkata"} <= time_zones()
    assert len(json.dumps(json_schema(Inlet.ACCOUNTS))) < 60_000


def test_a_login_says_nothing_but_that_it_was_one() -> None:
    event = decoded(fields("login_failed", details={}))
    assert isinstance(event, Event)
    assert refused(fields("login_failed", details={"password": "x"}))[0] is RejectReason.FORBIDDEN_FIELD
