"""Families of events on their topics: what each topic takes, which stream an event is in, what is kept where."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

import pytest
from bson import ObjectId

from projections.event import StoredEvent, read_paths
from tests.unit.contract.records import ALL_EXAMPLES, RECORD_TIME, fields, refused
from worker.contract.codec import decode, decode_event, encode, record_key
from worker.contract.data_class import PERSONAL, PUBLIC
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES, FAMILIES, families_of
from worker.contract.family import EventTypes, Family, Inlet
from worker.contract.fields import Id, Key, Maybe
from worker.contract.fingerprint import agrees, of_document
from worker.contract.identity import foreign_object_id, parse_stream_id, stream_kind, stream_object_id
from worker.contract.limits import DEFAULT_LIMITS, WHOLE_COURSES
from worker.contract.models import ClosedDetails, Details, Envelope, by_type
from worker.contract.personal import personal_keys
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import USUAL_TOPICS, Route, Topics, routes
from worker.contract.source import Source
from worker.storage.documents import event_document, void_document

SOME_ID = "65a4f0c2e13b7a0001eeeeee"


class PaidDetails(ClosedDetails):
    transaction_id: Key
    note: Maybe[str] = None


class Paid(Envelope):
    event_type: Literal["paid"]
    user_id: Id
    details: PaidDetails


class Written(Envelope):
    event_type: Literal["written"]
    content_id: Id
    block_id: Maybe[Id] = None
    details: Maybe[Details] = None


PAID = Family(
    "paid",
    Inlet.BILLING,
    ("transaction",),
    by_type(Paid),
    {"details.transaction_id": PUBLIC, "details.note": PERSONAL},
    derived={"transaction": "transaction_id"},
)
WRITTEN = Family("written", Inlet.CONTENT, ("content",), by_type(Written), {"details.*": PUBLIC})
BOTH = EventTypes((PAID, WRITTEN))


def _written(**changes: Any) -> dict[str, Any]:
    common = {name: fields("promotion_ended")[name] for name in ("event_id", "occurred_at")}
    return {**common, "event_type": "written", "content_id": SOME_ID, **changes}


def _paid(**details: Any) -> dict[str, Any]:
    said = {"transaction_id": "txn_1", **details}
    return {**_written(), "event_type": "paid", "content_id": None, "user_id": SOME_ID, "details": said}


def _read(record: Mapping[str, Any]) -> Event | Rejected:
    present = {name: value for name, value in record.items() if value is not None}
    return decode_event(encode(present), timestamp=RECORD_TIME, types=BOTH)


def _event(record: Mapping[str, Any]) -> Event:
    found = _read(record)
    assert isinstance(found, Event), found
    return found


def _stored(event: Event) -> dict[str, Any]:
    return event_document(event, 1, Source("t", 0, 0), datetime(2024, 1, 15, tzinfo=UTC), None)


@pytest.mark.parametrize("route", routes(USUAL_TOPICS).values(), ids=lambda each: each.topic)
@pytest.mark.parametrize("event_type", ALL_TYPES.by_name)
def test_a_topic_takes_the_event_types_of_its_families_and_no_other(route: Route, event_type: str) -> None:
    [found] = decode(encode(ALL_EXAMPLES[event_type]), timestamp=RECORD_TIME, route=route)
    if ALL_TYPES.by_name[event_type] in route.families:
        assert isinstance(found, Event)
        assert stream_kind(found.stream_id) == ALL_TYPES.by_name[event_type].about
    else:
        assert isinstance(found, Rejected)
        assert (found.reason, found.field) == (RejectReason.UNKNOWN_EVENT_TYPE, "event_type")
        assert f"family {ALL_TYPES.by_name[event_type].name}" in found.message


def test_every_family_comes_in_at_one_inlet_and_an_inlet_that_is_off_is_no_route() -> None:
    assert sorted(family.name for inlet in Inlet for family in families_of(inlet)) == sorted(
        family.name for family in FAMILIES
    )
    assert tuple(routes(Topics("learners"))) == ("learners",)
    assert tuple(Topics("learners", billing="money")) == ("learners", "money")
    assert {topic for topic, route in routes(USUAL_TOPICS).items() if route.own} <= {"worker-events"}


def test_families_of_one_topic_have_streams_of_their_own_kinds() -> None:
    route = Route("mixed", (PAID, WRITTEN))
    [written] = decode(encode(_written()), timestamp=RECORD_TIME, route=route)
    assert isinstance(written, Event)
    assert (written.stream_id, written.ids) == (f"content_{SOME_ID}", {"content_id": ObjectId(SOME_ID)})
    assert stream_object_id(written.stream_id) == ObjectId(SOME_ID)
    assert not route.time_series


def test_a_thing_without_an_id_has_one_made_of_its_text() -> None:
    event = _event(_paid())
    made = foreign_object_id("txn_1")
    assert (event.stream_id, event.ids) == (f"transaction_{made}", {"transaction_id": made})
    document = _stored(event)
    assert document["event_data"]["transaction_id"] == made
    assert agrees(document) is True
    assert void_document(event.stream_id, 2, RECORD_TIME)["event_data"] == {"transaction_id": made}


@pytest.mark.parametrize(
    "kind", ["block", "relationship", "workflow", "transaction", "promotion", "content", "user"]
)
def test_streams_of_every_kind_have_names_that_are_read_back(kind: str) -> None:
    stream = f"{kind}_{SOME_ID}"
    assert stream_kind(stream) == (kind,)
    assert parse_stream_id(stream) == {f"{kind}_id": ObjectId(SOME_ID)}
    assert stream_object_id(stream) == ObjectId(SOME_ID)
    assert stream_kind(f"{stream}_user_{SOME_ID}") is None


def test_an_id_that_only_other_families_have_is_refused() -> None:
    assert refused(fields(content_id=SOME_ID)) == (RejectReason.UNKNOWN_FIELD, "content_id")


def test_ids_in_capitals_are_the_same_event() -> None:
    one, other = (
        _event(_written(block_id="a" * 24)),
        _event(_written(content_id=SOME_ID.upper(), block_id="A" * 24)),
    )
    assert one == other
    assert one.ids == {"content_id": ObjectId(SOME_ID), "block_id": ObjectId("a" * 24)}


def test_personal_keys_lie_apart_and_folds_see_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = personal_keys(PAID, "paid")
    assert keys == {"note"}
    monkeypatch.setattr("worker.contract.personal.PERSONAL_KEYS", {"paid": keys})
    event = _event(_paid(note="a word"))
    assert (event.details, event.personal) == ({"transaction_id": "txn_1"}, {"note": "a word"})
    document = _stored(event)
    assert document["event_data"]["details"] == {"transaction_id": "txn_1"}
    assert document["personal"] == {"details": {"note": "a word"}}
    assert of_document(document) == event.fingerprint
    read = StoredEvent.from_document(document)
    assert read.details == {"transaction_id": "txn_1", "note": "a word"}
    assert (read.text, read.ids) == (None, {"transaction_id": foreign_object_id("txn_1")})
    without = _stored(_event(_paid()))
    assert without["personal"] == {}
    assert StoredEvent.from_document(without).details == {"transaction_id": "txn_1"}


def test_folds_name_the_details_that_they_read_or_read_all_of_them() -> None:
    assert {"event_data.details", "personal.details", "event_data.block_id"} <= {*read_paths(None)}
    assert [path for path in read_paths(("title",)) if "details" in path] == ["event_data.details.title"]


def test_what_holds_whole_courses_may_be_larger() -> None:
    text = "x" * (WHOLE_COURSES.max_details_bytes - 100)
    assert isinstance(_read(_written(details={"text": text})), Event)
    for details in (
        {"text": "x" * WHOLE_COURSES.max_details_bytes},
        {"text": "x" * WHOLE_COURSES.max_record_bytes},
    ):
        found = _read(_written(details=details))
        assert isinstance(found, Rejected)
        assert found.reason in (RejectReason.DETAILS_TOO_LARGE, RejectReason.TOO_LARGE)
    many = {f"k{number}": 0 for number in range(1_000)}
    assert isinstance(_read(_written(details=many)), Event)
    [learners] = decode(
        encode(fields(details={"text": text})), timestamp=RECORD_TIME, route=Route("t", (FAMILIES[0],))
    )
    assert isinstance(learners, Rejected)
    assert learners.reason is RejectReason.TOO_LARGE


def test_of_a_topic_with_families_of_two_sizes_each_keeps_to_its_own() -> None:
    found = _read(_paid(note="x" * DEFAULT_LIMITS.max_record_bytes))
    assert isinstance(found, Rejected)
    assert found.reason is RejectReason.TOO_LARGE


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"note": "4111 1111 1111 1111"}, RejectReason.CARD_NUMBER),
        ({"note": "ssn"}, None),
        ({"note": "+49 176 1234 5678"}, None),
        ({"note": "65a4f0c2e13b7a0001eeeeee"}, None),
        ({"transaction_id": "4111111111111111"}, RejectReason.CARD_NUMBER),
        ({"password_hash": "x"}, RejectReason.FORBIDDEN_FIELD),
    ],
)
def test_secrets_are_refused_where_money_and_accounts_come_in(
    details: dict[str, Any], reason: RejectReason | None
) -> None:
    found = _read(_paid(**details))
    assert (found.reason if isinstance(found, Rejected) else None) is reason


@pytest.mark.parametrize("name", ["password_hash", "passwordHash", "SSN", "card-number"])
def test_a_key_that_names_a_secret_is_refused_at_any_depth(name: str) -> None:
    class Open(Envelope):
        event_type: Literal["open"]
        user_id: Id
        details: Details

    family = Family("open", Inlet.ACCOUNTS, ("user",), by_type(Open))
    record = {**_paid(), "event_type": "open", "details": {"a": [{"b": {name: 1}}]}}
    record.pop("content_id")
    found = decode_event(encode(record), timestamp=RECORD_TIME, types=EventTypes((family,)))
    assert isinstance(found, Rejected)
    assert (found.reason, found.field) == (RejectReason.FORBIDDEN_FIELD, "details")


def test_the_recommended_key_names_what_the_event_is_about() -> None:
    assert record_key(encode(ALL_EXAMPLES["promotion_ended"])) == b"65a4f0c2e13b7a0001dddddd"
    assert record_key(encode({**fields(), "user_id": 1})) is None


def test_the_events_of_all_families_have_ids_of_their_own_in_the_examples() -> None:
    ids = sorted(example["event_id"] for example in ALL_EXAMPLES.values())
    assert all(one != other for one, other in pairwise(ids))
