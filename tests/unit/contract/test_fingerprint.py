"""The fingerprint is that of the event: equal however it was written, and equal again from the stored document."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.contract.records import EXAMPLES, accepted, fields, with_details, without
from worker.contract.codec import encode
from worker.contract.fingerprint import FINGERPRINT_VERSION, agrees, of_document
from worker.contract.source import Source
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import event_document, void_document

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
NO_DEADLINE = settings(deadline=None)  # a busy machine is no defect of the codec
STREAM = f"course_{ObjectId()}_user_{ObjectId()}"

event_types = st.sampled_from(sorted(EXAMPLES))
words = st.text(st.characters(codec="utf-8"), max_size=8)
keys = words.filter(lambda key: key.isidentifier())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
# One moment, and one address, in the ways a producer may write them.
MOMENTS = (
    "2024-01-15T09:30:00.120Z",
    "2024-01-15T09:30:00.12Z",
    "2024-01-15t09:30:00.1209z",
    "2024-01-15T09:30:00.120+00:00",
    "2024-01-15T09:30:00.120-00:00",
    "2024-01-15T11:00:00.120456789+01:30",
    "2024-01-14T23:30:00.12-10:00",
)
ADDRESSES = ("2001:db8::1", "2001:DB8::1", "2001:0db8:0:0:0:0:0:1")
EVENT_ID = "0b6c2f6e-6c1d-4c55-9a53-00000000abcd"


def stored(record: Any, **changes: Any) -> dict[str, Any]:
    """The document of a record as it comes back from the server."""
    document = event_document(accepted(record), 3, Source("interaction-events", 0, 7), NOON, None)
    raw = bson.encode({**document, **changes}, codec_options=CODEC_OPTIONS)
    return dict(bson.decode(raw, CODEC_OPTIONS))


@NO_DEADLINE
@given(
    event_types,
    st.sampled_from(MOMENTS),
    st.sampled_from(ADDRESSES),
    st.sampled_from([str.lower, str.upper]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_the_same_event_in_any_spelling_has_one_fingerprint(
    event_type: str, moment: str, address: str, case: Any, says_version: bool, order: Any
) -> None:
    record = fields(event_type, event_id=EVENT_ID, occurred_at=MOMENTS[0], ip_address=ADDRESSES[0])
    other = {**record, "occurred_at": moment, "ip_address": address}
    for name in ("event_id", "user_id", "course_id", "lesson_id"):
        other |= {name: case(other[name])} if name in other else {}
    names = [name for name in other if says_version or name != "schema_version"]
    order.shuffle(names)
    respelt = json.dumps({name: other[name] for name in names}, indent=1)
    assert accepted(respelt).fingerprint == accepted(encode(record)).fingerprint


def test_empty_details_are_none() -> None:
    record = without("lesson_view", "details")
    assert accepted({**record, "details": {}}).fingerprint == accepted(record).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 182},
        {"value": 182.500001},
        {"value": 0},
        {"occurred_at": "2024-01-15T09:30:00.001Z"},
        {"details": {}},
        {"details": {"time_spent": 60.0, "progress": 0.35}},
        {"session_id": ""},
        {"user_id": "65a4f0c2e13b7a0001c0ffff"},
        {"ip_address": "192.0.2.11"},
        {"event_type": "pause"},
    ],
)
def test_another_event_has_another_fingerprint(changes: dict[str, Any]) -> None:
    assert accepted(fields(**changes)).fingerprint != accepted(fields()).fingerprint


@pytest.mark.parametrize("name", ["producer", "session_id", "correlation_id", "device_type", "user_agent"])
def test_a_field_left_out_gives_another_fingerprint(name: str) -> None:
    assert accepted(without("view", name)).fingerprint != accepted(fields()).fingerprint


def test_the_fingerprint_of_the_one_spelling_is_the_hash_of_its_canonical_json() -> None:
    """Producers who write it have equal fingerprints in every version."""
    record = fields(occurred_at="2024-01-15T09:30:00.120Z")
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert accepted(record).fingerprint == hashlib.sha256(canonical).digest()


def test_the_fingerprint_covers_personal_text() -> None:
    first, second = (accepted(with_details("lesson_note_saved", text=text)) for text in ("a", "b"))
    assert first.details == second.details
    assert first.fingerprint != second.fingerprint


@NO_DEADLINE
@given(
    event_types,
    st.sampled_from(MOMENTS),
    st.dictionaries(keys, json_values, max_size=3),
    st.none() | st.integers(1, 5) | st.floats(1, 5),
    st.booleans(),
)
def test_a_stored_event_has_the_fingerprint_of_its_record(
    event_type: str, moment: str, details: dict[str, Any], value: Any, bare: bool
) -> None:
    record = with_details(event_type, **{**details, **EXAMPLES[event_type].get("details", {})})
    record |= {"occurred_at": moment} | ({} if value is None else {"value": value})
    if bare:
        optional = ("producer", "session_id", "correlation_id", "device_type", "user_agent", "ip_address")
        record = {name: each for name, each in record.items() if name not in optional}
    document = stored(record)
    assert of_document(document) == accepted(record).fingerprint == document["metadata"]["fingerprint"]
    assert agrees(document) is True


DAMAGE: dict[str, Any] = {
    "_id": uuid4(),
    "event_type": "pause",
    "occurred_at": datetime(2024, 1, 15, 9, 31, tzinfo=UTC),
    "schema_version": 2,
    "event_data.user_id": ObjectId(),
    "event_data.course_id": ObjectId(),
    "event_data.lesson_id": ObjectId(),
    "event_data.session_id": "another",
    "event_data.device_type": None,
    "event_data.value": 182,
    "event_data.details": {"time_spent": 60.0, "progress": 0.35},
    "metadata.producer": "another",
    "metadata.correlation_id": "another",
    "metadata.fingerprint": b"\x00" * 32,
    "metadata": "a text",
    "personal": {},
    "personal.user_agent": "another",
    "personal.ip_address": "192.0.2.11",
    "personal.text": "never written",
}


@pytest.mark.parametrize("path", [path for path in DAMAGE if path != "personal.text"])
def test_damage_to_any_part_of_a_stored_event_is_noticed(path: str) -> None:
    document = stored(fields())
    outer, _, inner = path.partition(".")
    if inner:
        document[outer] = {**document[outer], inner: DAMAGE[path]}
    else:
        document[outer] = DAMAGE[path]
    assert agrees(document) is False


def test_a_learner_s_changed_note_is_noticed() -> None:
    document = stored(fields("lesson_note_saved"))
    document["personal"]["text"] = "another"
    assert agrees(document) is False


def test_another_kind_of_value_does_not_pass_for_its_text() -> None:
    identity = uuid4()
    document = stored(with_details("view", trace=str(identity)))
    assert agrees(document) is True
    document["event_data"]["details"]["trace"] = identity
    assert agrees(document) is False


@pytest.mark.parametrize(
    "name", ["event_data", "metadata", "personal", "event_type", "occurred_at", "key_id"]
)
@pytest.mark.parametrize("value", [None, 1, "a", b"a", [], {}, {"details": [1]}])
def test_no_document_makes_it_raise(name: str, value: Any) -> None:
    document = stored(fields())
    assert agrees({**document, name: value}) in (True, False, None)
    del document[name]
    assert agrees(document) in (True, False, None)


def test_of_an_old_fingerprint_of_a_void_and_of_sealed_fields_nothing_is_said() -> None:
    old = stored(fields())
    del old["metadata"]["fingerprint_version"]
    assert agrees(old) is None
    assert agrees(void_document(STREAM, 4, NOON)) is None
    assert agrees(stored(fields(), key_id="key-1")) is None


def test_the_version_is_stored_beside_the_fingerprint() -> None:
    assert stored(fields())["metadata"]["fingerprint_version"] == FINGERPRINT_VERSION == 2
