"""What a learner has not started, and what follows from a migration of the course."""

from collections.abc import Sequence
from typing import Any

import pytest
from bson import ObjectId, encode
from hypothesis import given, settings

from projections.event import StoredEvent
from projections.progress import fold, refold
from projections.progress.curricula import CURRICULA_CAP
from tests.oracle.progress import document_differences
from tests.unit.projections.events import (
    CODEC_OPTIONS,
    arrive,
    course_event,
    event,
    event_sets,
    lesson_id,
    listed,
    migrated,
    moment,
    stored_document,
)
from worker.contract.identity import stream_object_id
from worker.errors import ListNotStored


def enrolled(*lessons: int, at: float = 0, **details: Any) -> StoredEvent:
    said = {} if details else {"total_lessons": len(lessons)}
    return event("course_enrolled", at, details=details, curriculum={**said, "lessons": listed(*lessons)})


def done(*lessons: int, at: float = 1) -> list[StoredEvent]:
    return [event("complete", at + place, lesson=lesson) for place, lesson in enumerate(lessons)]


def record(*events: StoredEvent) -> dict[str, Any]:
    return fold(None, arrive(events), "live")


def shown(document: dict[str, Any]) -> list[tuple[int, str]]:
    entries = document["lesson_progress"]
    return [(int.from_bytes(each["lesson_id"].binary, "big"), each["status"]) for each in entries]


def progress(document: dict[str, Any]) -> tuple[float, int, int]:
    found = document["progress"]
    return found["percentage"], found["completed_lessons"], found["total_lessons"]


def test_an_enrolment_shows_the_lessons_that_were_not_started_in_the_courses_order() -> None:
    document = record(enrolled(3, 1, 2), *done(1))
    assert shown(document) == [(3, "not_started"), (1, "completed"), (2, "not_started")]
    assert document["lesson_progress"][0] == {"lesson_id": lesson_id(3), "status": "not_started"}
    assert progress(document) == (33.33, 1, 3)


def test_the_first_event_of_somebody_who_never_enrolled_shows_them_too() -> None:
    first = event("complete", 0, lesson=1, curriculum={"lessons": listed(1, 2)})
    document = record(first)
    assert shown(document) == [(1, "completed"), (2, "not_started")]
    assert progress(document) == (50.0, 1, 2)
    assert document["progress"]["basis"] == "curriculum"


@pytest.mark.parametrize("list_id", [bytes(16), "text", 7])
def test_an_event_whose_list_was_not_found_is_not_folded_as_if_there_were_none(list_id: Any) -> None:
    for kind in ("course_enrolled", "complete"):
        first = event(kind, 0, lesson=1, curriculum={"version": "1", "lesson_list": list_id})
        with pytest.raises(ListNotStored, match="the list of lessons that it names is not stored"):
            record(first)


def test_events_without_a_list_are_folded_as_before() -> None:
    document = record(event("course_enrolled", details={"total_lessons": 4}), *done(2, 1))
    assert shown(document) == [(2, "completed"), (1, "completed")]
    assert progress(document) == (50.0, 2, 4)
    assert "curricula" not in document["state"]


def test_a_number_of_lessons_that_the_producer_names_stands_beside_another_list() -> None:
    document = record(enrolled(1, 2, total_lessons=4), *done(1, 9))
    assert progress(document) == (50.0, 2, 4)
    assert shown(document) == [(1, "completed"), (2, "not_started"), (9, "completed")]


def test_a_migration_adds_lessons_and_the_percentage_follows() -> None:
    document = record(enrolled(1, 2), *done(1), migrated(50, 1, 2, 3, 4))
    assert shown(document) == [(1, "completed"), (2, "not_started"), (3, "not_started"), (4, "not_started")]
    assert progress(document) == (25.0, 1, 4)
    assert document["updated_at"] == moment(1)
    assert document["milestones"]["completed"] is None


def test_a_lesson_that_leaves_takes_its_entry_along_unless_it_was_done() -> None:
    document = record(
        enrolled(1, 2, 3), *done(1), event("lesson_started", 5, lesson=2), migrated(50, 3, 4), *done(9, at=60)
    )
    assert shown(document) == [(3, "not_started"), (4, "not_started"), (1, "completed"), (9, "completed")]
    assert progress(document) == (0.0, 0, 2)
    back = record(
        enrolled(1, 2, 3), event("lesson_started", 5, lesson=2), migrated(50, 3), migrated(60, 1, 2, 3)
    )
    assert shown(back) == [(1, "not_started"), (2, "in_progress"), (3, "not_started")]
    assert back["lesson_progress"][1]["attempts"] == 1


def test_a_completed_course_stays_completed_when_it_grows() -> None:
    before = record(enrolled(1, 2), *done(1, 2))
    after = fold(before, arrive([migrated(50, 1, 2, 3)], after=3), "replay")
    assert after["milestones"] == before["milestones"]
    assert after["milestones"]["completed"] == {"at": moment(2), "percentage": 100.0, "by": "live"}
    assert progress(after) == (66.66, 2, 3)
    again = fold(after, arrive(done(3, at=60), after=4), "live")
    assert again["milestones"] == before["milestones"]
    assert progress(again) == (100.0, 3, 3)


def test_new_lessons_do_not_complete_the_course_in_place_of_old_ones() -> None:
    document = record(enrolled(1, 2, 3), *done(1, 2), migrated(50, 1, 2, 3, 4), *done(4, at=60))
    assert progress(document) == (75.0, 3, 4)
    assert document["milestones"]["completed"] is None


def test_lessons_that_left_do_not_complete_the_course_in_place_of_others() -> None:
    document = record(enrolled(1, 2, 3), *done(1, 2), migrated(50, 2, 3))
    assert progress(document) == (50.0, 1, 2)
    assert document["milestones"]["completed"] is None


def test_a_course_that_shrinks_to_what_was_done_is_completed_by_its_migration() -> None:
    document = record(enrolled(1, 2, 3), *done(1, 2), migrated(50, 1, 2))
    assert document["milestones"]["completed"] == {"at": moment(50), "percentage": 100.0, "by": "live"}
    assert progress(document) == (100.0, 2, 2)


def test_a_learner_is_at_the_list_that_was_named_last_whatever_came_first() -> None:
    late = [migrated(50, 1, 2, 3), enrolled(1, 2, at=0)]
    assert progress(record(*late)) == progress(record(*reversed(late))) == (0.0, 0, 3)


def test_a_course_larger_than_the_cap_shows_as_many_as_there_is_room_for() -> None:
    document = record(enrolled(*range(1, 1_201)), *done(1_200))
    assert len(document["lesson_progress"]) == 1_000
    assert shown(document)[-1] == (1_200, "completed")
    assert progress(document) == (0.08, 1, 1_200)


def test_a_record_of_three_hundred_lessons_stays_small() -> None:
    document = record(enrolled(*range(1, 301)), *done(*range(1, 31)))
    assert len(encode(document, codec_options=CODEC_OPTIONS)) < 50_000


def test_more_curricula_than_are_kept_take_no_completion_back() -> None:
    ways = [migrated(100 + number, 1, 2, 10 + number) for number in range(2 * CURRICULA_CAP)]
    document = record(enrolled(1, 2), *done(1, 2), *ways)
    assert len(document["state"]["curricula"]) == CURRICULA_CAP
    assert document["milestones"]["completed"]["at"] == moment(2)


@pytest.mark.slow
@given(event_sets(max_size=30))
@settings(max_examples=300, deadline=None)
def test_the_second_implementation_agrees(events: list[StoredEvent]) -> None:
    assert list(differences(arrive(events))) == []


def differences(events: Sequence[StoredEvent]) -> list[str]:
    documents = [stored_document(course_event(each)) for each in events]
    stream = events[0].stream_id
    document = {"_id": stream_object_id(stream), "rev": 1, **refold(events, None, "live")}
    assert isinstance(document["_id"], ObjectId)
    return list(document_differences(document, documents))
