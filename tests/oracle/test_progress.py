"""Two implementations of the fold agree: on simulated learners in any order, and on one beyond every cap."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId

from projections.event import StoredEvent
from projections.progress import fold
from tests.oracle.progress import document_differences
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_object_id
from worker.contract.source import Source
from worker.devstack.simulator.simulation import simulate
from worker.storage.database import Document
from worker.storage.documents import event_document, void_document

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LESSONS, NOTES, SESSIONS, CODES = 1_100, 260, 230, 30


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_agree_on_simulated_learners_in_any_order_of_arrival(seed: int) -> None:
    values = [record.value for record in simulate(seed, 3_000).records if record.value is not None]
    events = [decode_event(value, timestamp=NOW) for value in values]
    unique = list({event.event_id: event for event in events if isinstance(event, Event)}.values())
    random.Random(seed).shuffle(unique)  # noqa: S311 - a repeatable order, nothing secret

    differences = list(_differences(unique))

    assert differences == []


def test_both_agree_beyond_every_cap() -> None:
    events = list(_restless_learner())
    random.Random(5).shuffle(events)  # noqa: S311 - a repeatable order, nothing secret

    differences = list(_differences(events))

    assert differences == []


@pytest.mark.slow
def test_both_agree_on_more_lessons_than_count() -> None:
    events = list(_lessons_without_end(5_100))
    random.Random(6).shuffle(events)  # noqa: S311 - a repeatable order, nothing secret

    differences = list(_differences(events))

    assert differences == []


def test_both_agree_on_a_stream_of_nothing_but_voids() -> None:
    void = void_document(f"course_{ObjectId()}_user_{ObjectId()}", 1, NOW)

    assert list(document_differences(_document([void]), [void])) == []


def _differences(events: Sequence[Event]) -> Iterator[str]:
    versions: dict[str, int] = {}
    documents: list[Document] = []
    for number, event in enumerate(events):
        versions[event.stream_id] = versions.get(event.stream_id, 0) + 1
        recorded = NOW + timedelta(seconds=number % 7)
        source = Source("t", 0, number)
        documents.append(event_document(event, versions[event.stream_id], source, recorded, None))
    documents.sort(key=lambda each: (each["stream_id"], each["version"]))
    for _, own in groupby(documents, key=lambda each: each["stream_id"]):
        stream = list(own)
        yield from document_differences(_document(stream), stream)


def _document(events: Sequence[Document]) -> Document:
    folded = fold(None, [StoredEvent.from_document(event) for event in events], "live")
    return {"_id": stream_object_id(events[0]["stream_id"]), "rev": 1, **folded}


def _lessons_without_end(count: int) -> Iterator[Event]:
    """More lessons, half of them done, than any course of the contract has."""
    owner = {"user_id": ObjectId(), "course_id": ObjectId()}
    drafts: list[tuple[str, dict[str, Any]]] = [("course_enrolled", {"details": {"total_lessons": 5_000}})]
    for number in range(count):
        lesson = {"lesson_id": ObjectId(f"{number:024x}")}
        seen = {**lesson, "value": 1, "details": {"progress": number % 100 / 100}}
        drafts.append(("complete", lesson) if number % 2 else ("view", seen))
    for number, (event_type, fields) in enumerate(drafts):
        moment = NOW - timedelta(days=9) + timedelta(seconds=number)
        sent = {**owner, **fields, "event_id": UUID(int=number + 1), "event_type": event_type}
        event = decode_event(encode({**sent, "occurred_at": moment}), timestamp=NOW)
        assert isinstance(event, Event)
        yield event


def _restless_learner() -> Iterator[Event]:
    """More lessons, notes, sessions, certificates and payments than a document keeps."""
    user, course = ObjectId(), ObjectId()
    drafts: list[tuple[str, dict[str, Any]]] = []
    for number in range(LESSONS):
        lesson = {"lesson_id": ObjectId(f"{number:024x}"), "session_id": f"session {number % SESSIONS}"}
        drafts.append(("complete" if number % 3 else "lesson_started", lesson))
        progress = {"progress": (number % 101) / 100, "time_spent": number / 1_024}
        drafts.append(("view", {**lesson, "value": 1, "details": progress}))
        if number < NOTES:
            drafts.append(("lesson_note_saved", {**lesson, "text": f"note {number}"}))
            drafts.append(("assignment_graded", {**lesson, "value": number % 100 + 0.005}))
    for number in range(CODES):
        certificate = {"certificate_url": "https://example.org", "verification_code": f"code {number % 25}"}
        drafts.append(("certificate_issued", {"details": certificate}))
        payment = {
            "transaction_id": f"tx {number % 25}",
            "amount": "1.50",
            "currency": "EUR",
            "method": "card",
        }
        enrolment = {"total_lessons": 700 + number, "payment": {**payment, "amount": f"{number}.50"}}
        drafts.append(("course_enrolled", {"details": enrolment}))
        drafts.append(("from_tomorrow", {"session_id": f"another {number}", "details": {"time_spent": 3}}))
    for number, (event_type, fields) in enumerate(drafts):
        yield Event(
            event_id=UUID(int=number),
            event_type=event_type,
            # Several things happen in the same moment: then the ids decide.
            occurred_at=NOW + timedelta(seconds=number * 7919 % 1_000),
            user_id=user,
            course_id=course,
            fingerprint=b"",
            **{"details": {}, **fields},
        )
