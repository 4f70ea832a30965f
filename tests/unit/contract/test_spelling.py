"""Details that JSON lets producers write in several ways are stored, and compared, in one."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.contract.records import accepted, fields, with_details
from worker.contract.export import json_schema
from worker.contract.fingerprint import agrees, of_document
from worker.contract.source import Source
from worker.contract.spelling import TIMES, WHOLE_NUMBERS
from worker.contract.times import TIME_PATTERN
from worker.storage.documents import event_document

NEVER = "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("2034-01-15T00:00:00Z", "2034-01-15T00:00:00.000Z"),
        ("2034-01-15t02:00:00.1239+02:00", "2034-01-15T00:00:00.123Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ("9999-12-31T23:59:60Z", NEVER),
        ("9999-12-31T23:59:59-01:00", NEVER),
        ("9999-12-31T23:59:60+14:00", "9999-12-31T10:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("1899-12-31T00:00:00Z", "1899-12-31T00:00:00.000Z"),
        ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_certificate_is_valid_until_any_time_of_the_calendar(written: str, stored: str) -> None:
    assert accepted(with_details("certificate_issued", valid_until=written)).details["valid_until"] == stored


@pytest.mark.parametrize(
    ("event_type", "key"), [(name, key) for name, keys in WHOLE_NUMBERS.items() for key in keys]
)
def test_a_whole_number_is_stored_as_one_however_it_is_written(event_type: str, key: str) -> None:
    whole, float_ = (accepted(with_details(event_type, **{key: number})) for number in (3, 3.0))
    assert type(float_.details[key]) is int
    assert float_ == whole


def test_one_time_in_two_spellings_is_one_event() -> None:
    first, second = (
        accepted(with_details("certificate_issued", valid_until=text))
        for text in ("2034-01-15T00:00:00Z", "2034-01-15T01:00:00+01:00")
    )
    assert first.fingerprint == second.fingerprint


def test_an_event_whose_times_are_stored_as_written_is_known_again() -> None:
    """Before fingerprints had a version."""
    event = accepted(with_details("certificate_issued", valid_until="2034-01-15T01:00:00+01:00"))
    document = event_document(
        event, 1, Source("interaction-events", 0, 7), datetime(2024, 1, 15, tzinfo=UTC), None
    )
    document["event_data"]["details"] |= {"valid_until": "2034-01-15T01:00:00+01:00"}
    assert of_document(document) == event.fingerprint


def test_a_whole_number_stored_as_a_double_is_noticed() -> None:
    event = accepted(fields("quiz_submitted"))
    document = event_document(
        event, 1, Source("interaction-events", 0, 7), datetime(2024, 1, 15, tzinfo=UTC), None
    )
    assert agrees(document) is True
    document["event_data"]["details"] = {**event.details, "total_questions": 5.0}
    assert agrees(document) is False


def _keys_of(is_of_kind: Callable[[dict[str, Any]], bool]) -> dict[str, tuple[str, ...]]:
    """Event type to the keys of its details that the exported schema describes so."""
    schema = json_schema()
    found: dict[str, tuple[str, ...]] = {}
    for event_type, reference in schema["discriminator"]["mapping"].items():
        event = schema["$defs"][reference.removeprefix("#/$defs/")]
        details = schema["$defs"][event["properties"]["details"]["$ref"].removeprefix("#/$defs/")]
        names = tuple(name for name, each in details.get("properties", {}).items() if is_of_kind(each))
        found |= {event_type: names} if names else {}
    return found


def test_every_whole_number_and_time_of_the_contract_has_its_spelling() -> None:
    assert _keys_of(lambda each: each.get("type") == "integer") == WHOLE_NUMBERS
    assert _keys_of(lambda each: each.get("pattern") == TIME_PATTERN) == TIMES
