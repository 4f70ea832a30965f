"""A stored event as a record: for every event that the contract accepts, what comes back is a duplicate."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.opening import opening_event
from tests.unit.contract.records import ALL_EXAMPLES, EXAMPLES, accepted, decoded, fields
from tests.unit.contract.test_agreement import LATE, OF_TYPE
from worker.contract.codec import encode
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES
from worker.contract.family import Inlet
from worker.contract.limits import DEFAULT_LIMITS, Limits
from worker.contract.source import Source
from worker.ingest.plan import Known, sort_candidates
from worker.ingest.record import Candidate
from worker.kafka.files import OutgoingRecord
from worker.kafka.record import Record
from worker.kafka.stored import Unsent, outgoing
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import event_document, void_document

NOW = datetime(2024, 1, 15, 12, tzinfo=UTC)
# To make one takes some ten milliseconds.
SOME = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
STORED_FROM, COMES_FROM = Source("live", 0, 7), Source("again", 3, 1)


def stored(event: Event, **changes: Any) -> dict[str, Any]:
    """The document as the server gives it back."""
    document = {**event_document(event, 3, STORED_FROM, NOW, None), **changes}
    return dict(bson.decode(bson.encode(document, codec_options=CODEC_OPTIONS), CODEC_OPTIONS))


def returning(record: OutgoingRecord, at: datetime = LATE) -> Candidate:
    """The published record as ingest reads it."""
    event = decoded(record.value or b"", timestamp=at)
    assert isinstance(event, Event), event
    return Candidate(Record(COMES_FROM, at, record.key, record.value, record.headers), event)


def is_duplicate(document: dict[str, Any], back: Candidate) -> bool:
    metadata = document["metadata"]
    known = {document["_id"]: Known(bytes(metadata["fingerprint"]), STORED_FROM)}
    return sort_candidates([back], known, frozenset()).duplicates == [back]


@pytest.mark.slow
@pytest.mark.parametrize("event_type", sorted(EXAMPLES))
@SOME
@given(data=st.data())
def test_whatever_is_stored_comes_back_as_a_duplicate(data: st.DataObject, event_type: str) -> None:
    event = decoded(json.dumps(data.draw(OF_TYPE[event_type])), timestamp=LATE)
    assume(isinstance(event, Event))
    assert isinstance(event, Event)
    _assert_comes_back(event)


@pytest.mark.parametrize("event_type", sorted(ALL_EXAMPLES))
def test_the_example_of_each_type_comes_back_as_a_duplicate(event_type: str) -> None:
    _assert_comes_back(accepted(fields(event_type)))


def _assert_comes_back(event: Event) -> None:
    document = stored(event)
    inlet = ALL_TYPES.by_name[event.event_type].inlet
    elsewhere = next(each for each in Inlet if each is not inlet)
    assert outgoing(document, "publish", LATE, DEFAULT_LIMITS, elsewhere) is Unsent.ELSEWHERE
    record = outgoing(document, "publish", LATE, DEFAULT_LIMITS, inlet)
    assert isinstance(record, OutgoingRecord), record
    back = returning(record)
    assert is_duplicate(document, back)
    assert stored(back.event)["event_data"] == document["event_data"]
    assert stored(back.event)["personal"] == document["personal"]
    ids = event.stream_id.split("_")[1::2]
    assert record.key == ":".join(ids).encode()


def test_the_record_names_the_job_that_published_it() -> None:
    record = outgoing(stored(accepted(fields())), "publish-from-store", NOW, DEFAULT_LIMITS)
    assert isinstance(record, OutgoingRecord)
    assert record.headers == (("sevenp-origin", b"publish-from-store"),)


def test_the_record_carries_the_trace_of_its_event_on() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    document = stored(accepted(fields()))
    document["metadata"] |= {"traceparent": parent, "tracestate": "a=1"}
    record = outgoing(document, "publish", NOW, DEFAULT_LIMITS)
    assert isinstance(record, OutgoingRecord)
    assert record.headers[1:] == (("traceparent", parent.encode()), ("tracestate", b"a=1"))
    assert is_duplicate(document, returning(record, NOW))
    document["metadata"]["traceparent"] = "somebody wrote here"
    record = outgoing(document, "publish", NOW, DEFAULT_LIMITS)
    assert isinstance(record, OutgoingRecord)
    assert len(record.headers) == 1


def test_an_event_that_is_stored_with_a_fingerprint_of_its_spelling_is_published_by_its_content() -> None:
    document = stored(accepted(fields()))
    del document["metadata"]["fingerprint_version"]
    document["metadata"]["fingerprint"] = b"\1" * 32
    assert isinstance(outgoing(document, "publish", NOW, DEFAULT_LIMITS), OutgoingRecord)


EVENT = stored(accepted(fields()))
STREAM = EVENT["stream_id"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (void_document(STREAM, 1, NOW), Unsent.OWN),
        (opening_event(STREAM, 1, NOW), Unsent.OWN),
        ({**EVENT, "key_id": "k1", "personal": {"sealed": b"..."}}, Unsent.SEALED),
        ({**EVENT, "event_data": {**EVENT["event_data"], "value": 5}}, Unsent.ALTERED),
        ({**EVENT, "stream_id": STREAM[:-1] + "0"}, Unsent.ALTERED),
        (
            {
                **EVENT,
                "metadata": {**EVENT["metadata"], "fingerprint_version": 1},
                "event_type": "unheard_of",
            },
            Unsent.NO_EVENT,
        ),
        ({**EVENT, "event_data": None}, Unsent.ALTERED),
        ({}, Unsent.NO_EVENT),
    ],
)
def test_what_no_producer_sent_so_is_not_published(document: dict[str, Any], why: Unsent) -> None:
    assert outgoing(document, "publish", NOW, DEFAULT_LIMITS) is why


def test_what_ingest_would_refuse_by_now_is_not_published() -> None:
    """A number that JSON writes longer than its producer did, and an event from what is the future now."""
    wide = {**fields(), "details": {f"k{n}": [1e15] * 25 for n in range(150)}}
    short = json.dumps(wide).replace("1000000000000000.0", "1e15").encode()
    assert len(short) < DEFAULT_LIMITS.max_details_bytes < len(encode(wide))
    event = accepted(short, limits=Limits(max_details_bytes=2**20))  # older code measured only large records
    assert outgoing(stored(event), "publish", NOW, DEFAULT_LIMITS) is Unsent.NO_EVENT
    soon = accepted(fields(occurred_at="2024-01-15T13:00:00.000Z"))
    early = NOW - timedelta(days=2)
    assert outgoing(stored(soon), "publish", early, DEFAULT_LIMITS) is Unsent.NO_EVENT
