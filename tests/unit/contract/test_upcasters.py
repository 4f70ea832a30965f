"""Old versions are brought up to date by the same chain on the wire and on read (with an invented chain)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from bson import ObjectId

from projections.event import StoredEvent, upcast_document
from tests.unit.contract.records import RECORD_TIME, accepted, fields, without
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.fingerprint import of_document
from worker.contract.identity import void_event_id
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.contract.upcasters import (
    CURRENT_SCHEMA_VERSION,
    UPCASTERS,
    Upcasters,
    newest_version,
    oldest_version,
    upcast,
)
from worker.storage.documents import event_document, void_document


def _watch_becomes_view(old: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0 said `watch` where version 1 says `view`."""
    return {**old, "event_type": "view"} if old["event_type"] == "watch" else dict(old)


def _note_becomes_text(old: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 wrote minutes where version 2 writes seconds, and a note's text in capitals."""
    details = dict(old.get("details", {}))
    if "time_spent" in details:
        details["time_spent"] *= 60
    if "text" in details:
        details["text"] = details["text"].upper()
    return {**old, "details": details}


FROM_0: Upcasters = MappingProxyType({0: _watch_becomes_view})
FROM_1: Upcasters = MappingProxyType({1: _note_becomes_text})
FROM_0_TO_2: Upcasters = MappingProxyType({0: _watch_becomes_view, 1: _note_becomes_text})


def test_only_version_1_exists() -> None:
    assert (CURRENT_SCHEMA_VERSION, oldest_version(UPCASTERS), newest_version(UPCASTERS)) == (1, 1, 1)


def test_the_chain_applies_every_step_from_the_version_on() -> None:
    old = {"event_type": "watch", "details": {"time_spent": 2}}
    assert upcast(old, 0, FROM_0_TO_2) == {"event_type": "view", "details": {"time_spent": 120}}
    assert upcast(old, 1, FROM_0_TO_2) == {"event_type": "watch", "details": {"time_spent": 120}}
    assert upcast(old, 2, FROM_0_TO_2) == old


def test_upcasting_leaves_its_argument_unchanged() -> None:
    old = {"event_type": "watch", "details": {"time_spent": 2}}
    upcast(old, 0, FROM_0_TO_2)
    assert old == {"event_type": "watch", "details": {"time_spent": 2}}


def test_decode_upcasts_before_it_validates() -> None:
    record = json.dumps(fields(event_type="watch", schema_version=0)).encode()
    event = decode_event(record, timestamp=RECORD_TIME, upcasters=FROM_0)
    assert isinstance(event, Event)
    assert (event.event_type, event.schema_version) == ("view", 1)


def test_the_fingerprint_is_that_of_the_event_after_upcasting() -> None:
    """What an older record says is the same event in today's words."""
    record = json.dumps(fields(event_type="watch", schema_version=0)).encode()
    event = decode_event(record, timestamp=RECORD_TIME, upcasters=FROM_0)
    assert isinstance(event, Event)
    assert event.fingerprint == accepted(fields()).fingerprint


def test_an_old_record_that_comes_again_is_the_event_that_was_stored_before_the_upgrade() -> None:
    old = accepted(fields())._replace(event_type="watch", schema_version=0)
    stored = event_document(
        old, 3, Source("interaction-events", 0, 7), datetime(2024, 1, 16, tzinfo=UTC), None
    )
    again = decode_event(
        json.dumps(fields(event_type="watch", schema_version=0)).encode(),
        timestamp=RECORD_TIME,
        upcasters=FROM_0,
    )
    assert isinstance(again, Event)
    assert of_document(upcast_document(stored, FROM_0)) == again.fingerprint


@pytest.mark.parametrize("version", [2, 3])
def test_a_version_beyond_the_chain_is_unsupported(version: int) -> None:
    record = json.dumps(fields(schema_version=version)).encode()
    rejected = decode_event(record, timestamp=RECORD_TIME, upcasters=FROM_0)
    assert isinstance(rejected, Rejected)
    assert rejected.reason is RejectReason.UNSUPPORTED_VERSION


def _stored(record: dict[str, Any], version: int) -> dict[str, Any]:
    source = Source("interaction-events", 0, 7)
    document = event_document(accepted(record), 3, source, datetime(2024, 1, 16, tzinfo=UTC), None)
    return {**document, "schema_version": version}


def test_a_stored_event_of_an_old_version_is_upcast_on_read() -> None:
    document = _stored(fields("view", details={"time_spent": 2, "a": 1}), 1)
    upcasted = upcast_document(document, FROM_1)
    assert upcasted["event_data"]["details"] == {"time_spent": 120, "a": 1}
    assert upcasted["event_data"]["user_id"] == document["event_data"]["user_id"]
    assert upcasted["schema_version"] == 2
    assert document["event_data"]["details"] == {"time_spent": 2, "a": 1}


def test_personal_text_of_a_stored_event_is_upcast_and_stays_apart() -> None:
    document = upcast_document(_stored(fields("lesson_note_saved", details={"text": "note"}), 1), FROM_1)
    assert document["personal"]["text"] == "NOTE"
    assert document["personal"]["ip_address"] == "192.0.2.10"
    assert "details" not in document["event_data"]


def test_a_void_is_never_upcast() -> None:
    stream = f"course_{ObjectId()}_user_{ObjectId()}"
    void = void_document(stream, 4, datetime(2024, 1, 16, tzinfo=UTC))
    assert upcast_document(void, FROM_1) is void
    assert void["_id"] == void_event_id(stream, 4)


def test_a_stored_event_of_the_current_version_is_read_as_it_is() -> None:
    event = StoredEvent.from_document(_stored(without("view", "schema_version"), CURRENT_SCHEMA_VERSION))
    assert (event.event_type, event.version, event.details) == (
        "view",
        3,
        {"time_spent": 60, "progress": 0.35},
    )
