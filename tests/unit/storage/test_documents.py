"""The stored shapes of an event: one home for personal data, and a row that is a function of the document."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import ObjectId

from projections.event import VOID, StoredEvent
from tests.unit.contract.records import EXAMPLES, accepted, fields
from tests.unit.ingest.samples import COURSE, LEARNER, source
from worker.contract.event import Event
from worker.contract.fingerprint import of_document
from worker.contract.identity import stream_slot, void_event_id
from worker.contract.trace_context import TraceContext
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import event_document, interaction_row, void_document
from worker.storage.encoding import encoded

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STREAM = f"course_{COURSE}_user_{LEARNER}"
# The spec's metadata, and nothing else: rows cannot be rewritten one by one.
ROW_METADATA = {
    "user_id",
    "session_id",
    "course_id",
    "lesson_id",
    "interaction_type",
    "device_type",
    "user_agent",
    "ip_address",
}
PERSONAL = {"user_agent": "Mozilla/5.0", "ip_address": "192.0.2.7"}


def document(event: Event) -> dict[str, Any]:
    return event_document(event, 3, source(17), NOON, None)


def stored(written: dict[str, Any]) -> dict[str, Any]:
    """The document as it comes back from the server."""
    blob = encoded(written)
    assert blob is not None
    return bson.decode(blob.raw, CODEC_OPTIONS)


def everything(value: Any) -> list[Any]:
    """All values inside a value."""
    if isinstance(value, dict):
        return [inner for item in value.values() for inner in everything(item)]
    if isinstance(value, list):
        return [inner for item in value for inner in everything(item)]
    return [value]


@pytest.mark.parametrize("event_type", EXAMPLES)
def test_the_row_is_the_same_made_from_the_new_document_or_from_the_stored_one(event_type: str) -> None:
    new = document(accepted(fields(event_type, **PERSONAL)))
    assert interaction_row(stored(new)) == interaction_row(new)


@pytest.mark.parametrize("event_type", EXAMPLES)
def test_the_metadata_of_a_row_is_that_of_the_spec(event_type: str) -> None:
    row = interaction_row(document(accepted(fields(event_type, **PERSONAL))))
    assert set(row) <= {"_id", "timestamp", "metadata", "value", "details"}
    assert row["metadata"].keys() <= ROW_METADATA
    assert row["metadata"]["interaction_type"] == event_type


def test_personal_fields_have_one_place_in_the_document() -> None:
    event = accepted(fields("lesson_note_saved", details={"text": "my secret note", "page": 3}, **PERSONAL))
    written = document(event)
    assert written["personal"] == {**PERSONAL, "text": "my secret note"}
    elsewhere = everything({name: value for name, value in written.items() if name != "personal"})
    assert not {"my secret note", *PERSONAL.values()} & {
        value for value in elsewhere if isinstance(value, str)
    }
    assert written["event_data"]["details"] == {"page": 3}


def test_free_text_is_not_in_the_row() -> None:
    row = interaction_row(document(accepted(fields("lesson_note_saved", details={"text": "my secret note"}))))
    assert "my secret note" not in everything(row)


def test_a_document_says_where_it_came_from_and_where_it_belongs() -> None:
    event = accepted(EXAMPLES["view"])
    written = document(event)
    assert (written["_id"], written["version"], written["stream_id"]) == (event.event_id, 3, event.stream_id)
    assert written["slot"] == stream_slot(event.stream_id)
    assert written["metadata"]["fingerprint"] == event.fingerprint
    assert written["metadata"]["source"] == {**source(17).document(), "index": 0}
    assert (written["occurred_at"], written["recorded_at"]) == (event.occurred_at, NOON)
    assert written["key_id"] is None


def test_a_stored_document_is_read_back_as_the_event() -> None:
    event = accepted(fields("quiz_submitted", **PERSONAL))
    read = StoredEvent.from_document(stored(document(event)))
    assert (read.event_id, read.version, read.event_type) == (event.event_id, 3, "quiz_submitted")
    assert (read.user_id, read.course_id, read.lesson_id) == (event.user_id, event.course_id, event.lesson_id)
    assert (read.value, read.details, read.occurred_at) == (event.value, event.details, event.occurred_at)


def test_whoever_fills_a_hole_makes_the_same_void() -> None:
    early, late = void_document(STREAM, 4, NOON), void_document(STREAM, 4, NOON + timedelta(days=1))
    assert early["_id"] == late["_id"] == void_event_id(STREAM, 4)
    assert early["_id"] != void_document(STREAM, 5, NOON)["_id"]
    assert (early["event_type"], early["stream_id"], early["slot"]) == (VOID, STREAM, stream_slot(STREAM))
    assert early["event_data"] == {"course_id": COURSE, "user_id": LEARNER}
    assert StoredEvent.from_document(stored(early)).is_void


def test_value_zero_is_a_value() -> None:
    row = interaction_row(document(accepted(fields("view", value=0))))
    assert row["value"] == 0


def test_identifiers_are_stored_as_object_ids() -> None:
    data = document(accepted(EXAMPLES["view"]))["event_data"]
    assert all(isinstance(data[name], ObjectId) for name in ("user_id", "course_id", "lesson_id"))


@pytest.mark.parametrize("about", ["course", "user", "content"])
def test_a_void_names_what_its_stream_is_about(about: str) -> None:
    void = void_document(f"{about}_{COURSE}", 3, NOON)
    assert void["event_data"] == {f"{about}_id": COURSE}
    assert void["_id"] == void_event_id(f"{about}_{COURSE}", 3)


def test_origin_and_time_zone_are_stored_only_where_they_are_known() -> None:
    event = accepted(fields("view", **PERSONAL))
    live = event_document(event, 1, source(17), NOON, None)
    brought = event_document(event, 1, source(17), NOON, None, origin="backfill", time_zone="Europe/Berlin")
    assert "time_zone" not in live
    assert "origin" not in live["metadata"]
    assert (brought.pop("time_zone"), brought["metadata"].pop("origin")) == ("Europe/Berlin", "backfill")
    assert brought == live
    assert of_document({**live, "time_zone": "Europe/Berlin"}) == of_document(live)


def test_a_trace_stands_in_the_metadata_and_nothing_else_knows_of_it() -> None:
    event, parent = accepted(fields("view", **PERSONAL)), f"00-{'a' * 32}-{'b' * 16}-01"
    plain = document(event)
    traced = event_document(event, 3, source(17), NOON, None, trace=TraceContext(parent, "a=1"))
    assert traced["metadata"] == {**plain["metadata"], "traceparent": parent, "tracestate": "a=1"}
    assert {**traced, "metadata": plain["metadata"]} == plain
    assert interaction_row(traced) == interaction_row(plain)
    assert of_document(stored(traced)) == of_document(stored(plain))
    without_state = event_document(event, 3, source(17), NOON, None, trace=TraceContext(parent))
    assert "tracestate" not in without_state["metadata"]


def test_a_document_without_a_trace_is_the_same_to_the_byte_as_before_there_were_any() -> None:
    event = accepted(fields("view", **PERSONAL))
    blob = encoded(document(event))
    assert blob is not None
    names = list(bson.decode(blob.raw, CODEC_OPTIONS)["metadata"])
    assert names == [
        "timestamp",
        "correlation_id",
        "producer",
        "fingerprint",
        "fingerprint_version",
        "source",
    ]
