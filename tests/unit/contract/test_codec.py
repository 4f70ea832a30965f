"""From bytes to an event and back: properties that hold for every record."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.contract.records import (
    EXAMPLES,
    RECORD_TIME,
    accepted,
    decoded,
    fields,
    refused,
    with_details,
)
from worker.contract.codec import decode_event, encode, record_key
from worker.contract.event import Event
from worker.contract.limits import Limits
from worker.contract.rejection import Rejected, RejectReason

BSON_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)
# Reasons that ingest gives before and after decoding, when it reads the batch and looks at the store.
GIVEN_BY_INGEST = {RejectReason.CONFLICT, RejectReason.REFUSED_BY_STORE, RejectReason.UNDECODABLE}

NO_DEADLINE = settings(deadline=None)  # a busy machine is no defect of the codec

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
event_types = st.sampled_from(sorted(EXAMPLES))


def test_the_example_of_a_view_becomes_exactly_this_event() -> None:
    event = accepted(
        fields("view", details={"time_spent": 60, "extra": [1]}, occurred_at="2024-01-15T10:30:00.1239+01:00")
    )
    digest = event.fingerprint
    assert len(digest) == 32
    assert event == Event(
        event_id=UUID(EXAMPLES["view"]["event_id"]),
        event_type="view",
        occurred_at=datetime(2024, 1, 15, 9, 30, 0, 123_000, tzinfo=UTC),
        user_id=ObjectId("65a4f0c2e13b7a0001c0ffee"),
        course_id=ObjectId("65a4f0c2e13b7a0001aaaaaa"),
        fingerprint=digest,
        lesson_id=ObjectId("65a4f0c2e13b7a0001bbbbbb"),
        producer="learning-platform",
        session_id="sess_789",
        correlation_id="corr_abc123",
        device_type="desktop",
        user_agent="Mozilla/5.0 (X11; Linux x86_64)",
        ip_address="192.0.2.10",
        text=None,
        value=182.5,
        details={"time_spent": 60, "extra": [1]},
        schema_version=1,
    )


@NO_DEADLINE
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x00")
@example(b'{"schema_version": 1e400}')
def test_no_bytes_make_decode_raise(value: bytes) -> None:
    assert isinstance(decode_event(value, timestamp=RECORD_TIME), Event | Rejected)


@pytest.mark.slow
@NO_DEADLINE
@given(st.dictionaries(st.sampled_from(sorted(EXAMPLES["view"])), json_values), event_types)
def test_no_json_in_any_field_makes_decode_raise(changes: dict[str, Any], event_type: str) -> None:
    record = {**EXAMPLES[event_type], **changes}
    assert isinstance(decoded(json.dumps(record)), Event | Rejected)


@NO_DEADLINE
@given(
    event_types,
    st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    st.none() | st.integers() | st.floats(),
    st.text(max_size=10),
)
@example("view", {"a\0": 1}, 1, "")
@example("complete", {"a": 2**63}, 2**64, "\0")
def test_every_decoded_event_can_be_stored(
    event_type: str, details: dict[str, Any], value: Any, session: str
) -> None:
    record = with_details(event_type, **details) | {"session_id": session}
    event = decoded(json.dumps(record if value is None else {**record, "value": value}))
    if isinstance(event, Event):
        document = {name: getattr(event, name) for name in Event._fields if name != "about"}
        stored = bson.decode(bson.encode(document, codec_options=BSON_OPTIONS), BSON_OPTIONS)
        assert {**stored, "occurred_at": event.occurred_at} == document
        assert stored["occurred_at"] == event.occurred_at


def _shuffled(value: Any, order: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: _shuffled(value[key], order) for key in keys}
    if isinstance(value, list):
        return [_shuffled(item, order) for item in value]
    return value


@NO_DEADLINE
@given(event_types, st.randoms(use_true_random=False), st.sampled_from([None, 0, 1, "\t"]), st.booleans())
def test_the_fingerprint_does_not_depend_on_order_white_space_or_escapes(
    event_type: str, order: Any, indent: Any, ascii_only: bool
) -> None:
    record = with_details(event_type, z={"é": [{"b": 1, "a": "😀"}], "a": None})
    other = json.dumps(_shuffled(record, order), indent=indent, ensure_ascii=ascii_only)
    assert accepted(other).fingerprint == accepted(encode(record)).fingerprint


def test_one_and_one_point_zero_differ_but_exponents_do_not() -> None:
    template = encode(fields(value=7)).replace(b'"value":7', b'"value":%s')
    ones = {accepted(template % spelling).fingerprint for spelling in (b"100", b"100.0", b"1e2", b"1.0E+2")}
    assert len(ones) == 2


def test_every_reason_that_decoding_can_give_is_given() -> None:
    """One bad record per reason, so that none of them is a dead word."""
    bad: dict[RejectReason, bytes | dict[str, Any]] = {
        RejectReason.TOO_LARGE: b" " * 1_100_000,
        RejectReason.NOT_UTF8: b"\xff",
        RejectReason.NOT_JSON: b"",
        RejectReason.NOT_AN_OBJECT: b"[]",
        RejectReason.DUPLICATE_KEY: b'{"a":1,"a":1}',
        RejectReason.NOT_FINITE: b'{"a":NaN}',
        RejectReason.LONE_SURROGATE: b'{"a":"\\ud800"}',
        RejectReason.INTEGER_OUT_OF_RANGE: b'{"a":9223372036854775808}',
        RejectReason.TOO_DEEP: b"[" * 100_000,
        RejectReason.UNSUPPORTED_VERSION: fields(schema_version=99),
        RejectReason.UNKNOWN_EVENT_TYPE: fields(event_type="void"),
        RejectReason.UNKNOWN_FIELD: fields(other=1),
        RejectReason.MISSING_FIELD: {},
        RejectReason.INVALID_FIELD: fields(user_id=1),
        RejectReason.TIME_OUT_OF_RANGE: fields(occurred_at="2099-01-01T00:00:00Z"),
        RejectReason.DETAILS_TOO_LARGE: with_details("view", a="x" * 70_000),
        RejectReason.DETAILS_TOO_DEEP: with_details("view", a=json.loads("[" * 20 + "]" * 20)),
        RejectReason.DETAILS_TOO_MANY_KEYS: with_details("view", a=[{"a": 1}] * 300),
        RejectReason.DETAILS_BAD_KEY: with_details("view", **{"$a": 1}),
        RejectReason.CARD_NUMBER: with_details("course_enrolled", payment={"a": "4111111111111111"}),
        RejectReason.FORBIDDEN_FIELD: with_details("promotion_created", password="secret"),  # noqa: S106
    }
    assert {reason: refused(record)[0] for reason, record in bad.items()} == {
        reason: reason for reason in bad
    }
    assert set(bad) == set(RejectReason) - GIVEN_BY_INGEST


def test_the_size_of_a_record_is_a_setting() -> None:
    record = encode(fields())
    assert refused(record, limits=Limits(max_record_bytes=len(record) - 1)) == (RejectReason.TOO_LARGE, None)
    assert accepted(record, limits=Limits(max_record_bytes=len(record)))


def test_encode_writes_the_values_python_producers_have() -> None:
    event_id = UUID(EXAMPLES["view"]["event_id"])
    moment = datetime(2024, 1, 15, 9, 30, tzinfo=UTC)
    record = fields(event_id=event_id, occurred_at=moment, user_id=ObjectId("a" * 24))
    event = accepted(encode(record))
    assert (event.event_id, event.occurred_at, event.user_id) == (event_id, moment, ObjectId("a" * 24))


def test_encode_gives_the_same_bytes_for_any_order_of_keys() -> None:
    assert encode({"b": 1, "a": {"d": 2, "c": 3}}) == encode({"a": {"c": 3, "d": 2}, "b": 1})


def test_encode_raises_for_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError):
        encode({"a": object()})


def test_the_record_key_names_course_and_learner() -> None:
    assert record_key(encode(fields())) == b"65a4f0c2e13b7a0001aaaaaa:65a4f0c2e13b7a0001c0ffee"


def test_the_record_key_is_the_same_for_either_case_of_ids() -> None:
    assert record_key(encode(fields(course_id="65A4F0C2E13B7A0001AAAAAA"))) == record_key(encode(fields()))


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"{}", b"\xff", b'{"course_id": 1, "user_id": 2}', b"[" * 100_000, b"null"]
)
def test_a_record_that_cannot_be_read_has_no_key(value: bytes) -> None:
    assert record_key(value) is None


@NO_DEADLINE
@given(st.binary(max_size=100))
def test_no_bytes_make_the_record_key_raise(value: bytes) -> None:
    assert record_key(value) is None
