"""The rules of the envelope, one by one."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId

from projections.event import OWN_TYPES
from tests.unit.contract.records import EXAMPLES, RECORD_TIME, accepted, decoded, fields, refused, without
from worker.contract.codec import decode, encode
from worker.contract.families import LEARNER_TYPES
from worker.contract.limits import Limits
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import USUAL_TOPICS, Route, routes

NOT_A_STRING: tuple[Any, ...] = (7, 1.5, True, None, [], {}, ["text"])
NOT_A_NUMBER: tuple[Any, ...] = ("1", True, False, None, [], {})
STRING_FIELDS = (
    "event_id",
    "event_type",
    "occurred_at",
    "user_id",
    "course_id",
    "lesson_id",
    "producer",
    "session_id",
    "correlation_id",
    "device_type",
    "user_agent",
    "ip_address",
)
NOT_AN_OBJECT: tuple[Any, ...] = ("text", 1, True, None, [], [{}])
NOT_A_VERSION: tuple[Any, ...] = ("1", 1.5, True, None, [], {}, -1)
WRONG_TYPES: tuple[tuple[str, Any], ...] = (
    *((name, wrong) for name in STRING_FIELDS for wrong in NOT_A_STRING),
    *(("value", wrong) for wrong in NOT_A_NUMBER),
    *(("details", wrong) for wrong in NOT_AN_OBJECT),
    *(("schema_version", wrong) for wrong in NOT_A_VERSION),
)


@pytest.mark.parametrize(("name", "wrong"), WRONG_TYPES)
def test_a_wrong_type_is_refused_in_every_field(name: str, wrong: Any) -> None:
    assert refused(fields(**{name: wrong})) == (RejectReason.INVALID_FIELD, name)


def test_the_wrong_types_cover_every_field_of_the_envelope() -> None:
    assert {name for name, _ in WRONG_TYPES} == set(EXAMPLES["view"])


@pytest.mark.parametrize("name", ["event_id", "event_type", "occurred_at", "user_id", "course_id"])
def test_a_required_field_that_is_missing_is_refused(name: str) -> None:
    assert refused(without("view", name)) == (RejectReason.MISSING_FIELD, name)


OPTIONAL = ("producer", "session_id", "correlation_id", "device_type", "user_agent", "ip_address", "details")


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_field_may_be_left_out(name: str) -> None:
    event = accepted(without("view", name))
    assert getattr(event, name) == ({} if name == "details" else None)


def test_the_schema_version_is_1_when_left_out() -> None:
    assert accepted(without("view", "schema_version")).schema_version == 1


def test_a_version_is_a_whole_number_however_it_is_written() -> None:
    version = accepted(fields(schema_version=1.0)).schema_version
    assert (version, type(version)) == (1, int)


def test_a_newer_schema_version_is_unsupported_whatever_else_the_record_holds() -> None:
    record = {"schema_version": 2, "event_type": "not yet known", "new": 1}
    assert refused(record) == (RejectReason.UNSUPPORTED_VERSION, "schema_version")


def test_an_older_schema_version_than_any_upcaster_reads_is_unsupported() -> None:
    assert refused(fields(schema_version=0)) == (RejectReason.UNSUPPORTED_VERSION, "schema_version")


@pytest.mark.parametrize("name", ["Event_id", "lessonId", "_id", "$set", "a\0b", "void"])
def test_an_unknown_envelope_field_is_refused(name: str) -> None:
    assert refused(fields(**{name: 1})) == (RejectReason.UNKNOWN_FIELD, name)


def test_a_long_name_of_an_unknown_field_is_cut() -> None:
    assert refused(fields(**{"n" * 1_000: 1})) == (RejectReason.UNKNOWN_FIELD, "n" * 100)


@pytest.mark.parametrize("name", ["", "View", *sorted(OWN_TYPES), "view ", "played"])
def test_an_event_type_that_is_not_in_the_contract_is_refused(name: str) -> None:
    assert refused(fields(event_type=name)) == (RejectReason.UNKNOWN_EVENT_TYPE, "event_type")


@pytest.mark.parametrize("route", routes(USUAL_TOPICS).values(), ids=lambda each: each.topic)
def test_no_topic_takes_an_event_that_only_the_worker_writes(route: Route) -> None:
    for name in OWN_TYPES:
        [rejected] = decode(encode(fields(event_type=name)), timestamp=RECORD_TIME, route=route)
        assert isinstance(rejected, Rejected)
        assert rejected.reason is RejectReason.UNKNOWN_EVENT_TYPE
    assert not OWN_TYPES & route.types.by_name.keys()


EVENT_ID = "9dc99b37-e920-4a68-a066-917faca28949"


@pytest.mark.parametrize("text", [EVENT_ID, EVENT_ID.upper()])
def test_an_event_id_is_a_uuid_in_either_case(text: str) -> None:
    assert accepted(fields(event_id=text)).event_id == UUID(EVENT_ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        EVENT_ID.replace("-", ""),
        f"{{{EVENT_ID}}}",
        f"urn:uuid:{EVENT_ID}",
        EVENT_ID + "\n",
        "x" * 36,
    ],
)
def test_an_event_id_in_any_other_form_is_refused(text: str) -> None:
    assert refused(fields(event_id=text)) == (RejectReason.INVALID_FIELD, "event_id")


@pytest.mark.parametrize("name", ["user_id", "course_id", "lesson_id"])
def test_ids_are_24_hex_digits_in_either_case(name: str) -> None:
    assert getattr(accepted(fields(**{name: "ABCDEF" * 4})), name) == ObjectId("abcdef" * 4)


@pytest.mark.parametrize("name", ["user_id", "course_id", "lesson_id"])
@pytest.mark.parametrize(
    "text", ["", "a" * 23, "a" * 25, "g" * 24, "a" * 24 + "\n", "abcdefghijkl", "٣" * 24]
)
def test_ids_in_any_other_form_are_refused(name: str, text: str) -> None:
    assert refused(fields(**{name: text})) == (RejectReason.INVALID_FIELD, name)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-15T09:30:00Z", datetime(2024, 1, 15, 9, 30, tzinfo=UTC)),
        ("2024-01-15t09:30:00z", datetime(2024, 1, 15, 9, 30, tzinfo=UTC)),
        ("2024-01-15T09:30:00.5+05:30", datetime(2024, 1, 15, 4, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-01-15T09:30:00.123999999-00:00", datetime(2024, 1, 15, 9, 30, 0, 123_000, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1970-01-01T00:00:00-01:00", datetime(1970, 1, 1, 1, tzinfo=UTC)),
        ("2023-12-31T23:59:60Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2023-12-31T15:59:60.25-08:00", datetime(2024, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("2024-01-01T05:29:60+05:30", datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_becomes_utc_cut_to_milliseconds(text: str, moment: datetime) -> None:
    event = accepted(fields(occurred_at=text))
    assert event.occurred_at == moment
    assert event.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15T09:30:00",
        "2024-01-15",
        "2024-01-15 09:30:00Z",
        "2024-01-15T09:30Z",
        "20240115T093000Z",
        "2024-W03-1T09:30:00Z",
        "2024-02-30T09:30:00Z",
        "2024-01-15T24:00:00Z",
        "2024-01-15T09:30:60Z",
        "2024-01-15T09:30:00,5Z",
        "2024-01-15T09:30:00+05:30:10",
        "2024-01-15T09:30:00+24:00",
        "2024-01-15T09:30:00+0530",
        "2024-01-15T09:30:00Z\n",
        "٢٠٢٤-01-15T09:30:00Z",
        "1705311000",
        "",
    ],
)
def test_a_time_that_is_not_rfc_3339_with_offset_is_refused(text: str) -> None:
    assert refused(fields(occurred_at=text)) == (RejectReason.INVALID_FIELD, "occurred_at")


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999Z",
        "1969-12-31T23:00:00-01:00",
        "1970-01-01T23:00:00+01:00",
        "2101-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2024-01-16T12:00:00.001Z",
    ],
)
def test_a_time_outside_1970_to_2100_as_written_or_a_day_ahead_is_out_of_range(text: str) -> None:
    assert refused(fields(occurred_at=text)) == (RejectReason.TIME_OUT_OF_RANGE, "occurred_at")


def test_the_last_moment_of_2100_is_accepted_in_its_time() -> None:
    record_time = datetime(2100, 12, 31, tzinfo=UTC)
    event = accepted(fields(occurred_at="2100-12-31T23:59:59.999Z"), timestamp=record_time)
    assert event.occurred_at.year == 2100


def test_exactly_24_hours_ahead_of_the_record_is_accepted() -> None:
    text = (RECORD_TIME + timedelta(hours=24)).isoformat()
    assert accepted(fields(occurred_at=text)).occurred_at == RECORD_TIME + timedelta(hours=24)


def test_how_far_ahead_an_event_may_lie_is_a_setting() -> None:
    record = fields(occurred_at=(RECORD_TIME + timedelta(minutes=2)).isoformat())
    reason = refused(record, limits=Limits(max_future=timedelta(minutes=1)))
    assert reason == (RejectReason.TIME_OUT_OF_RANGE, "occurred_at")


BOUNDS = (
    ("producer", 256),
    ("session_id", 256),
    ("correlation_id", 256),
    ("device_type", 256),
    ("user_agent", 1024),
)


@pytest.mark.parametrize(("name", "length"), BOUNDS)
def test_a_string_as_long_as_its_bound_is_accepted(name: str, length: int) -> None:
    assert getattr(accepted(fields(**{name: "é" * length})), name) == "é" * length


@pytest.mark.parametrize(("name", "length"), BOUNDS)
def test_a_string_longer_than_its_bound_is_refused(name: str, length: int) -> None:
    assert refused(fields(**{name: "x" * (length + 1)})) == (RejectReason.INVALID_FIELD, name)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_ip_address_is_parsed_and_written_in_one_form(text: str, stored: str) -> None:
    assert accepted(fields(ip_address=text)).ip_address == stored


@pytest.mark.parametrize(
    "text", ["", "localhost", "192.0.2", "192.0.2.256", "192.0.2.1/24", "fe80::1%eth0", "01.2.3.4", "1" * 100]
)
def test_what_is_not_an_ip_address_is_refused(text: str) -> None:
    assert refused(fields(ip_address=text)) == (RejectReason.INVALID_FIELD, "ip_address")


def test_a_record_of_exactly_256_kib_is_read() -> None:
    record = b" " * (256 * 1024 - 2) + b"{}"
    assert refused(record) == (RejectReason.MISSING_FIELD, "event_type")


@pytest.mark.parametrize("size", [256 * 1024 + 1, 300 * 1024])
def test_a_record_over_256_kib_is_refused(size: int) -> None:
    assert refused(b" " * size, types=LEARNER_TYPES) == (RejectReason.TOO_LARGE, None)


def test_a_whole_number_stays_whole_and_a_fraction_a_fraction() -> None:
    assert type(accepted(fields(value=3)).value) is int
    assert type(accepted(fields(value=3.0)).value) is float


def test_a_message_never_repeats_a_value_of_the_payload() -> None:
    for name in STRING_FIELDS:
        for record in (fields(**{name: "Secret-4711"}), fields(**{name: {"Secret-4711": 1}})):
            rejected = decoded(record)
            assert "Secret" not in (repr(rejected) if isinstance(rejected, Rejected) else "")
