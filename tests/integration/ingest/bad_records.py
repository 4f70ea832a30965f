"""Forty records that must never reach the event store, each with the reason it must be set aside for."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.ingest import event

# One wrong type in every field of the envelope.
WRONG_TYPES: dict[str, Any] = {
    "event_id": 7,
    "event_type": ["view"],
    "occurred_at": 1_767_225_600,
    "user_id": {"$oid": "5f1d7f3e9d1c4b0001a0c001"},
    "course_id": "not-an-object-id",
    "lesson_id": 12,
    "producer": 3,
    "session_id": True,
    "correlation_id": 4.5,
    "device_type": ["mobile"],
    "user_agent": {"name": "browser"},
    "ip_address": "999.1.1.1",
    "value": "12.5",
    "details": ["time_spent", 3],
    "schema_version": "1",
}


def _changed(**fields: Any) -> bytes:
    return json.dumps(event(1, **fields)).encode()


def _without(name: str) -> bytes:
    fields = event(1)
    del fields[name]
    return json.dumps(fields).encode()


def _patched(change: Callable[[str], str]) -> bytes:
    return change(json.dumps(event(1, details={"note": "HERE"}))).encode()


def _nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"deeper": inner}
    return inner


def bad_records() -> list[tuple[str, bytes]]:
    """(expected reason, exact bytes), forty of them; no line holds a newline."""
    return [*_malformed(), *_outside_the_contract(), *_wrong_types()]


def _malformed() -> Iterator[tuple[str, bytes]]:
    yield "too_large", _changed(details={"note": "x" * 300 * 1024})
    yield "not_utf8", _changed(producer="HERE").replace(b"HERE", b"\xff\xfe")
    yield "not_json", b'{"event_id": '
    yield "not_json", b""
    yield "not_an_object", b'["an", "array"]'
    yield "duplicate_key", _patched(lambda text: text.replace('"value": 12.5', '"value": 1, "value": 2'))
    yield "not_finite", _patched(lambda text: text.replace('"value": 12.5', '"value": NaN'))
    yield "not_finite", _patched(lambda text: text.replace('"value": 12.5', '"value": 1e999'))
    yield "lone_surrogate", _patched(lambda text: text.replace("HERE", "\\ud800"))
    yield "integer_out_of_range", _patched(lambda text: text.replace('"HERE"', str(2**63)))
    yield "too_deep", b'{"a":' * 2_000 + b"1" + b"}" * 2_000


def _outside_the_contract() -> Iterator[tuple[str, bytes]]:
    payment = {
        "transaction_id": "4111 1111 1111 1111",
        "amount": "10.00",
        "currency": "EUR",
        "method": "card",
    }
    enrolment = {"event_type": "course_enrolled", "details": {"total_lessons": 3, "payment": payment}}
    yield "unsupported_version", _changed(schema_version=99)
    yield "unknown_event_type", _changed(event_type="teleported")
    yield "unknown_field", _changed(surprise=1)
    yield "missing_field", _without("user_id")
    yield "missing_field", _without("lesson_id")
    yield "invalid_field", _changed(event_type="course_rated", value=6)
    yield "time_out_of_range", _changed(occurred_at="2099-01-01T00:00:00Z")
    yield "details_too_large", _changed(details={"note": "x" * 65 * 1024})
    yield "details_too_deep", _changed(details=_nested(17))
    yield "details_too_many_keys", _changed(details={f"key{n}": n for n in range(257)})
    yield "details_bad_key", _changed(details={"$where": "1"})
    yield "details_bad_key", _changed(details={"a.b": 1})
    yield "details_bad_key", _changed(details={"nul\u0000": 1})
    yield "card_number", _changed(**enrolment)


def _wrong_types() -> Iterator[tuple[str, bytes]]:
    for field, value in WRONG_TYPES.items():
        yield "invalid_field", _changed(**{field: value})
