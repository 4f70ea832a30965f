"""Whatever the contract takes, every validator and index takes: the event, and all that follows from it."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from projections.billing import BILLING
from projections.counts import count_learner
from projections.event import StoredEvent
from projections.progress import fold
from tests.unit.projections.events import stored_document
from worker.contract.codec import decode_event, encode
from worker.contract.enrolment_payments import names_payment, payment_event
from worker.contract.event import Event
from worker.contract.events.interactions import EVENT_TYPES
from worker.contract.identity import stream_object_id
from worker.contract.source import Source
from worker.storage.database import Collection, Database, Document
from worker.storage.documents import event_document, interaction_row
from worker.storage.errors import write_failures
from worker.storage.outbox import notification_row

RECORDED = datetime(2026, 1, 1, tzinfo=UTC)
# Any time of the contract lies within a day of the record's.
BEGIN, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
LARGEST = 2**63 - 1

WORDS = st.text(max_size=256) | st.sampled_from(
    ["", "\0", "$where", "a.b", " ", "NaN", "\N{GRINNING FACE}" * 256]
)
NUMBERS = (
    st.integers(-LARGEST - 1, LARGEST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 5e-324, 1e308, 0.1])
)
KEYS = st.text(max_size=20).filter(lambda key: not key.startswith("$") and "." not in key and "\0" not in key)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECT_IDS = st.binary(min_size=12, max_size=12).map(lambda raw: raw.hex())
TIMES = st.integers(0, (END - BEGIN) // timedelta(microseconds=1)).map(
    lambda microseconds: BEGIN + timedelta(microseconds=microseconds)
)
SECONDS = st.floats(0, 10_000_000) | st.integers(0, 10_000_000)
PERCENT = st.floats(0, 100) | st.integers(0, 100)
COUNTS = st.integers(0, 1_000_000)
PAYMENTS = st.fixed_dictionaries(
    {
        "transaction_id": WORDS,
        "amount": st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,4})?", fullmatch=True),
        "currency": st.text("ABCXYZ", min_size=3, max_size=3),
        "method": WORDS,
    },
    optional={"note": ANYTHING},
)

DETAILS: Mapping[str, tuple[Mapping[str, st.SearchStrategy[Any]], Mapping[str, st.SearchStrategy[Any]]]] = {
    "course_enrolled": ({}, {"total_lessons": st.integers(1, 5_000), "payment": PAYMENTS}),
    "progress_updated": ({"new_progress": PERCENT, "old_progress": PERCENT, "time_spent": SECONDS}, {}),
    "quiz_submitted": (
        {"score": PERCENT},
        {"total_questions": COUNTS, "correct_answers": COUNTS, "time_taken": SECONDS},
    ),
    "certificate_issued": (
        {
            "certificate_url": st.sampled_from(["https://c.example/1", "http://" + "c" * 2_041]),
            "verification_code": WORDS,
        },
        {"type": WORDS, "valid_until": TIMES.map(datetime.isoformat)},
    ),
    "lesson_note_saved": ({"text": st.text(max_size=1_000)}, {}),
    **dict.fromkeys(
        ("view", "pause", "seek"),
        ({}, {"time_spent": SECONDS, "progress": st.floats(0, 1) | st.integers(0, 1)}),
    ),
}
VALUES = {
    **dict.fromkeys(("view", "pause", "seek"), SECONDS),
    "assignment_graded": PERCENT,
    "course_rated": st.floats(1, 5) | st.integers(1, 5),
}
OF_A_LESSON = frozenset(
    {"lesson_started", "lesson_view", "complete", "view", "pause", "seek"}
    | {"quiz_submitted", "assignment_graded", "lesson_note_saved"}
)


def _fields(event_type: str) -> st.SearchStrategy[dict[str, Any]]:
    needed, optional = DETAILS.get(event_type, ({}, {}))
    own = st.fixed_dictionaries(dict(needed), optional=dict(optional))
    # What the contract does not name may be anything; what it names stands as it was drawn.
    details = st.tuples(st.dictionaries(KEYS, ANYTHING, max_size=2), own).map(
        lambda both: {**both[0], **both[1]}
    )
    required: dict[str, st.SearchStrategy[Any]] = {
        "event_type": st.just(event_type),
        "occurred_at": TIMES.map(datetime.isoformat),
    }
    further: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("producer", "session_id", "correlation_id", "device_type", "user_agent"), WORDS),
        "ip_address": st.ip_addresses().map(str),
        "value": NUMBERS,
    }
    if needed:
        required["details"] = details
    else:
        further["details"] = details
    if event_type in VALUES:
        further.pop("value")
        required["value"] = VALUES[event_type]
    if event_type in OF_A_LESSON:
        required["lesson_id"] = OBJECT_IDS
    else:
        further["lesson_id"] = OBJECT_IDS
    return st.fixed_dictionaries(required, optional=further)


# Half of the streams begin with a payment: those are what has the most places to go to.
PAID = st.tuples(_fields("course_enrolled"), PAYMENTS).map(
    lambda both: {**both[0], "details": {"payment": both[1]}}
)
ANY_RECORDS = st.lists(st.sampled_from(EVENT_TYPES).flatmap(_fields), max_size=4)


def _records(event_type: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """What a learner may do, with an event of the type for certain."""
    return st.tuples(st.lists(PAID, max_size=1), _fields(event_type), ANY_RECORDS).map(
        lambda drawn: [*drawn[0], drawn[1], *drawn[2]]
    )


def accepted(records: Iterable[Mapping[str, Any]]) -> list[Event]:
    """The records that the contract takes, all of one new learner."""
    owner = {"user_id": ObjectId(), "course_id": ObjectId()}
    written = (encode({**record, **owner, "event_id": uuid4()}) for record in records)
    decoded = (decode_event(value, timestamp=END - timedelta(hours=1)) for value in written)
    return [event for event in decoded if isinstance(event, Event)]


async def refused(collection: Collection, writes: Sequence[InsertOne[Document] | UpdateOne]) -> list[object]:
    """What the server says of the writes it does not take."""
    try:
        await collection.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        return [(failure.code, writes[failure.index]) for failure in write_failures(error)]
    return []


def _stored(events: Sequence[Event]) -> list[Document]:
    return [
        event_document(event, version, Source("t", 0, version), RECORDED, None)
        for version, event in enumerate(events, start=1)
    ]


def billed(enrolments: Iterable[Document]) -> list[Document]:
    """The rows of the transactions that these enrolments name."""
    streams: dict[str, list[Event]] = defaultdict(list)
    for enrolment in enrolments:
        event = payment_event(enrolment)
        assert isinstance(event, Event), event
        streams[event.stream_id].append(event)
    rows = []
    for stream, events in streams.items():
        stored = [StoredEvent.from_document(stored_document(each)) for each in _stored(events)]
        rows.append({"_id": stream_object_id(stream), "rev": 1, **BILLING.refold(stored, None, "live")})
    return rows


@pytest.mark.slow
async def test_what_the_contract_takes_every_collection_takes(database: Database) -> None:
    learners: list[list[Document]] = []

    def collect(event_type: str) -> None:
        @settings(max_examples=14, database=None, suppress_health_check=list(HealthCheck))
        @given(_records(event_type))
        def of_one_type(records: list[dict[str, Any]]) -> None:
            if events := accepted(records):
                learners.append([stored_document(each) for each in _stored(events)])

        of_one_type()

    for event_type in EVENT_TYPES:
        await asyncio.to_thread(collect, event_type)
    met = {event["event_type"] for events in learners for event in events}
    assert met == set(EVENT_TYPES)
    everything = list(itertools.chain.from_iterable(learners))
    assert len(everything) > 500
    assert await refused(database.course_events, [InsertOne(event) for event in everything]) == []
    rows = [InsertOne(interaction_row(event)) for event in everything]
    assert await refused(database.user_interactions, rows) == []

    records, projections, outbox = [], [], []
    billing = [InsertOne(row) for row in billed(filter(names_payment, everything))]
    for events in learners:
        known = [StoredEvent.from_document(event) for event in events]
        record = {"_id": stream_object_id(known[0].stream_id), "rev": 1, **fold(None, known, "live")}
        step = count_learner(stored_document(record), None)
        assert step is not None
        who = (record["stream_id"], record["user_id"], record["course_id"])
        records.append(InsertOne(record))
        projections.append(InsertOne(step.projection))
        outbox += [
            InsertOne(
                notification_row(
                    each.kind,
                    *who,
                    by=each.by,
                    data={"percentage": each.percentage, "reached_at": each.at},
                    now=RECORDED,
                )
            )
            for each in step.milestones
        ]
    assert await refused(database.user_progress, records) == []
    assert await refused(database.user_progress_projections, projections) == []
    assert await refused(database.notifications, outbox) == []
    assert await refused(database.billing_transactions, billing) == []
    assert billing
    assert outbox
