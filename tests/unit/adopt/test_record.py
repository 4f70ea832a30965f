"""Whatever a platform's record holds, it is adoptable in the worker's words or unfit by a sentence; nothing else."""

from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, Regex, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.progress import ProgressDocument, refold
from projections.progress.opening import OpeningRecord
from projections.unfit import Unfit
from tests.support.platform import day, enrolled, full_record
from tests.unit.projections.events import CODEC_OPTIONS, stored_document
from worker.adopt.comparison import differing
from worker.adopt.record import Adoptable, read_record
from worker.contract.identity import stream_object_id
from worker.storage.documents import Opening, opening_document

NOW = datetime(2024, 6, 1, tzinfo=UTC)
USER, COURSE = ObjectId(), ObjectId()
LESSONS = [ObjectId() for _ in range(4)]

Record = dict[str, Any]


def document_of(record: Adoptable) -> Record:
    """What the fold makes of it."""
    OpeningRecord.model_validate(record.record)
    opening = Opening(record.record, record.at, record.texts)
    event = stored_document(opening_document(record.stream, 1, opening, NOW))
    folded = refold([StoredEvent.from_document(event)], None, "live")
    stored = stored_document({"_id": stream_object_id(record.stream), "rev": 1, **folded})
    ProgressDocument.model_validate(stored)
    return stored


def changed(record: Record) -> list[str]:
    return differing(record, document_of(read_record(record, record.get("_id"), NOW)))


def test_the_spec_s_own_records_show_what_they_showed() -> None:
    assert changed(full_record(USER, COURSE, LESSONS)) == []
    assert changed(enrolled(USER, COURSE)) == []
    assert changed({"user_id": USER, "course_id": COURSE}) == []


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"progress": {"percentage": 66.66666666666667}}, []),
        ({"progress": {"percentage": 40, "total_lessons": None, "completed_lessons": 3}}, []),
        ({"progress": {"percentage": 10, "total_lessons": 2, "completed_lessons": 1}}, []),
        (
            {"progress": {"percentage": 10, "total_lessons": 2, "completed_lessons": 2}},
            ["progress.percentage"],
        ),
        ({"progress": {"percentage": 101}}, ["progress.percentage"]),
        ({"status": "completed"}, ["status"]),
        ({"completion_notified": False, "progress": {"percentage": 100}}, ["completion_notified"]),
        ({"lesson_progress": [{"lesson_id": LESSONS[0], "status": "not_started"}]}, ["lesson_progress.*"]),
        (
            {
                "lesson_progress": [
                    {"lesson_id": LESSONS[0], "status": "completed", "progress_percentage": 80}
                ]
            },
            ["lesson_progress.*.progress_percentage"],
        ),
        ({"rating": 5, "social": {"likes": 2}}, ["social.likes"]),
        ({"version": 3, "__v": 3}, ["version"]),
        ({"payment_data": {"amount": 19.9, "currency": "EUR", "method": "card", "transaction_id": "t"}}, []),
        ({"payment_data": {}}, []),
    ],
)
def test_what_the_worker_shows_otherwise_is_named(changes: Record, paths: list[str]) -> None:
    assert changed(enrolled(USER, COURSE, **changes)) == paths


def test_a_record_stands_for_the_latest_moment_that_it_names() -> None:
    assert read_record(full_record(USER, COURSE, LESSONS), None, NOW).at == day(22)
    assert read_record(enrolled(USER, COURSE), None, NOW).at == day(1)
    born = ObjectId.from_datetime(day(3))
    assert read_record({"user_id": USER, "course_id": COURSE}, born, NOW).at == day(3)


def test_a_completed_course_was_completed_when_its_certificate_was_issued_at_the_latest() -> None:
    record = full_record(USER, COURSE, LESSONS, completion_notified=True)
    assert document_of(read_record(record, None, NOW))["milestones"]["completed"]["at"] == day(20)
    del record["certificates"]
    assert document_of(read_record(record, None, NOW))["milestones"]["completed"]["at"] == day(22)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=3),
    st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    st.binary(max_size=3),
    st.sampled_from(
        [
            ObjectId(),
            Int64(7),
            Decimal128("1.5"),
            Decimal128("NaN"),
            Decimal128("Infinity"),
            Regex("x"),
            day(2),
            50,
            {},
            [],
        ]
    ),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=2)), max_size=3),
    st.dictionaries(
        st.sampled_from(["percentage", "amount", "value", "lesson_id", "_id"]), st.integers(), max_size=2
    ),
)


def places(record: Record, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something could stand in a record."""
    found: list[tuple[Any, ...]] = []
    items = (
        record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    )
    for name, value in items:
        found += [(*path, name), *places(value, (*path, name))]
    return found


PLACES = places(
    full_record(USER, COURSE, LESSONS, status="active", payment_data={"amount": 1}, rating={"value": 3})
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=4))
@settings(max_examples=120, deadline=None)
def test_whatever_stands_somewhere_the_record_is_adopted_or_set_aside(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    record = full_record(
        USER, COURSE, LESSONS, status="active", payment_data={"amount": 1}, rating={"value": 3}
    )
    for path, value in changes:
        with suppress(TypeError, LookupError):  # an earlier change took the place away
            reduce(getitem, path[:-1], record)[path[-1]] = value
    try:
        adoptable = read_record(record, record.get("_id"), NOW)
    except Unfit:
        return
    document = document_of(adoptable)
    encode(document, codec_options=CODEC_OPTIONS)
    differing(record, document)


def test_a_mistake_is_named_by_its_place_and_without_its_value() -> None:
    with pytest.raises(Unfit, match=r"^progress\.percentage must be a number$"):
        read_record(enrolled(USER, COURSE, progress={"percentage": "secret"}), None, NOW)
