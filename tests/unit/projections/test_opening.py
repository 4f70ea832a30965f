"""An opening event makes the record what it was; what comes later is added to it, in any order, and by both folds."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.progress import ProgressDocument, fold, refold
from projections.progress.opening import OpeningRecord
from tests.oracle.progress import document_differences
from tests.support.opening import (
    ADOPTED_AT,
    ENROLLED_AT,
    LESSON,
    OTHER_LESSON,
    opening_event,
    opening_lesson,
    opening_record,
)
from tests.unit.projections.events import (
    CODEC_OPTIONS,
    STORED_AT,
    STREAM,
    arrive,
    content,
    course_event,
    event,
    event_sets,
    split,
    stored_document,
)
from worker.contract.identity import stream_object_id

CERTIFICATE = {
    "_id": ObjectId(),
    "type": "completion",
    "issued_at": ENROLLED_AT,
    "certificate_url": "https://c.example/1",
    "verification_code": "A.1",
    "valid_until": None,
}
FULL_RECORD = opening_record(
    lesson_progress=[
        opening_lesson(),
        opening_lesson(
            OTHER_LESSON,
            status="in_progress",
            progress_percentage=40.25,
            completed_at=None,
            quiz_results={
                "score": 85.0,
                "total_questions": 5,
                "correct_answers": 4,
                "time_taken": 180.0,
                "attempts": 2,
            },
            assignment_grade=71.5,
        ),
    ],
    progress={"estimated_completion_date": STORED_AT, "completed_lessons": 3, "total_lessons": 9},
    performance={
        "quiz_average": 87.5,
        "assignment_average": 71.5,
        "engagement_score": 8.5,
        "consistency_score": 7.8,
        "skills_progress": [{"skill": "JavaScript", "proficiency": 0.75}],
    },
    rating={"value": 4.5, "rated_at": ENROLLED_AT},
    certificates=[CERTIFICATE],
    payment_data={"transaction_id": "t", "amount": "1.50", "currency": "EUR", "method": "card"},
)
RECORDS = [
    pytest.param(opening_record(), id="spec"),
    pytest.param(FULL_RECORD, id="full"),
    pytest.param(
        opening_record(
            lesson_progress=[],
            progress={
                "percentage": 0.0,
                "completed_lessons": 0,
                "total_lessons": None,
                "current_lesson_id": None,
            },
            performance={"quiz_average": None, "assignment_average": None},
        ),
        id="just enrolled",
    ),
    pytest.param(opening_record(progress={"percentage": 40.0, "total_lessons": None}), id="no total"),
    pytest.param(opening_record(status="dropped"), id="dropped"),
    pytest.param(
        opening_record(progress={"percentage": 100.0, "completed_lessons": 4}, completed_at=ADOPTED_AT),
        id="completed",
    ),
]


def opened(record: dict[str, Any], version: int = 1, **opening: Any) -> dict[str, Any]:
    return stored_document(opening_event(STREAM, version, STORED_AT, record, **opening))


def after(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The document of these stored events."""
    return fold(None, [StoredEvent.from_document(each) for each in documents], "live")


def differences(document: dict[str, Any], documents: list[dict[str, Any]]) -> list[str]:
    """What the oracle says to it."""
    stored = stored_document({"_id": stream_object_id(STREAM), "rev": 1, **document})
    ProgressDocument.model_validate(stored)
    return list(document_differences(stored, documents))


@pytest.mark.parametrize("record", RECORDS)
def test_the_document_of_an_opening_shows_the_record(record: dict[str, Any]) -> None:
    OpeningRecord.model_validate(record)
    document = after([opened(record)])
    shown = {name: value for name, value in record.items() if name != "completed_at"}
    progress, basis = document["progress"], document["progress"]["basis"]
    assert {**document, "progress": {n: v for n, v in progress.items() if n != "basis"}} | shown == {
        **document,
        "progress": {n: v for n, v in progress.items() if n != "basis"},
    }
    assert basis == ("observed" if record["progress"]["total_lessons"] is None else "curriculum")
    assert differences(document, [opened(record)]) == []


def test_what_a_record_had_reached_is_announced_by_nobody_and_what_follows_is() -> None:
    record = opening_record()
    documents = [opened(record)]
    assert {kind: one and one["by"] for kind, one in after(documents)["milestones"].items()} == {
        "welcome": "replay",
        "completed": None,
    }
    report = event("progress_updated", details={"new_progress": 100, "old_progress": 0, "time_spent": 1})
    documents += [course_event(each) for each in arrive([report], after=1)]
    assert after(documents)["milestones"]["completed"]["by"] == "live"
    done = opening_record(progress={"percentage": 100.0}, completed_at=ADOPTED_AT)
    assert after([opened(done)])["milestones"]["completed"]["by"] == "replay"


@pytest.mark.parametrize("record", RECORDS)
@given(events=event_sets(), data=st.data())
@settings(max_examples=15, deadline=None)
def test_later_events_come_on_top_in_any_order_and_any_batches(
    record: dict[str, Any], events: list[StoredEvent], data: st.DataObject
) -> None:
    opening = StoredEvent.from_document(opened(record))
    at_once = fold(None, [opening, *arrive(events, after=1)], "live")
    arrived = [opening, *arrive(data.draw(st.permutations(events)), after=1)]
    current: dict[str, Any] | None = None
    for batch in split(arrived, data.draw(st.lists(st.integers(1, len(arrived)), max_size=5))):
        current = stored_document(fold(current, batch, "live"))
    assert current is not None
    assert encode(content(current), codec_options=CODEC_OPTIONS) == encode(
        content(stored_document(at_once)), codec_options=CODEC_OPTIONS
    )
    assert content(refold(arrived, current, "replay")) == content(current)
    documents = [opened(record), *(course_event(each) for each in arrive(events, after=1))]
    assert differences(at_once, documents) == []


@given(before=event_sets(max_size=8), later=event_sets(max_size=8), quarters=st.integers(-1, 13))
@settings(max_examples=60, deadline=None)
def test_earlier_events_are_in_the_record_but_for_the_copies_and_old_ones_that_come_late_are(
    before: list[StoredEvent], later: list[StoredEvent], quarters: int
) -> None:
    until = ADOPTED_AT - timedelta(hours=1) + timedelta(minutes=15 * quarters)
    earlier = [course_event(each) for each in arrive(before)]
    copies = [each for each in earlier if each["occurred_at"] > until]
    texts = {str(each["_id"]): each["personal"]["text"] for each in copies if "text" in each["personal"]}
    uncounted = [{name: each[name] for name in each if name != "personal"} for each in copies]
    given_ids = {each["_id"] for each in earlier}
    fresh = [each for each in later if each.event_id not in given_ids]
    place = len(earlier) + 1
    opening = opened(FULL_RECORD, place, counted_until=until, uncounted=uncounted, texts=texts)
    documents = [*earlier, opening, *(course_event(each) for each in arrive(fresh, after=place))]
    document = after(documents)
    assert differences(document, documents) == []
    paid = [
        each
        for each in documents
        if each["event_type"] == "course_enrolled" and each["event_data"]["details"].get("payment")
    ]
    assert document["state"]["payments_named"] == len(paid)


def test_notes_of_the_record_stand_until_the_learner_writes_new_ones() -> None:
    documents = [opened(opening_record(), texts={str(LESSON): "old"})]
    assert after(documents)["lesson_progress"][0]["notes"] == "old"
    saved = event("lesson_note_saved", at=7200, lesson=1, details={"text": "new"})
    documents += [course_event(each) for each in arrive([saved], after=1)]
    assert after(documents)["lesson_progress"][0]["notes"] == "new"


def test_a_certificate_issued_again_keeps_the_id_it_had_in_the_record() -> None:
    again = event(
        "certificate_issued",
        at=7200,
        details={"certificate_url": "https://c.example/2", "verification_code": "A.1"},
    )
    documents = [opened(FULL_RECORD), *(course_event(each) for each in arrive([again], after=1))]
    [shown] = after(documents)["certificates"]
    assert (shown["_id"], shown["certificate_url"]) == (CERTIFICATE["_id"], "https://c.example/2")


def test_more_lessons_than_have_an_entry_still_count() -> None:
    lessons = [opening_lesson(ObjectId(number.to_bytes(12, "big"))) for number in range(1, 1_201)]
    record = opening_record(
        lesson_progress=lessons,
        progress={"completed_lessons": 1_200, "total_lessons": 2_000, "percentage": 60.0},
    )
    document = after([opened(record)])
    assert (len(document["lesson_progress"]), document["progress"]["completed_lessons"]) == (1_000, 1_200)
    assert differences(document, [opened(record)]) == []


def test_an_opening_has_an_id_of_its_own_for_each_place() -> None:
    first, second = opened(opening_record()), opened(opening_record(), 2)
    assert isinstance(first["_id"], UUID)
    assert first["_id"] != second["_id"]
    assert StoredEvent.from_document(first).is_opening
