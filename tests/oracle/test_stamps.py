"""What the worker stamps is what the oracle expects of it; a stamp that never was, came early or is old is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from projections.content.courses.projection import COURSES
from projections.event import StoredEvent
from tests.oracle.case import Case
from tests.oracle.stamps import stamps
from tests.oracle.stored import Stored, with_lists
from tests.support.courses import COURSE, CREATED, LESSON, event_of, modules, sent, version
from tests.unit.ingest.samples import LEARNER, event
from worker.contract.source import Source
from worker.ingest.enrich.course import known_course
from worker.ingest.enrich.stamps import Stamps
from worker.storage.database import Document
from worker.storage.documents import event_document

OTHER = "65a4f0c2e13b7a0001bbbbbc"
BEGAN = datetime(2026, 11, 29, tzinfo=UTC)
HISTORY = [
    sent("course_created", 0, **CREATED),
    sent("curriculum_published", 1, curriculum=modules(LESSON)),
    sent("course_version_created", 2, **version("1.0")),
    sent("course_version_deployed", 3, version="1.0"),
    sent("curriculum_published", 4, curriculum=modules(LESSON, OTHER)),
]
# A minute apart.
EVENTS = [
    event_of(fields, number, BEGAN + timedelta(minutes=number))
    for number, fields in enumerate(HISTORY, start=1)
]
FIRST_LESSONS, DEPLOYED, REVISED = 2, 4, 5
"""How many events the course has had by then."""


def learner_event(seen: int, minute: float, number: int = 2, **fields: Any) -> Document:
    """An event of a learner, recorded in this minute and stamped with the course as it was after so many events."""
    found = event(course_id=COURSE, user_id=LEARNER, **fields)
    folded = COURSES.refold([*map(StoredEvent.from_document, EVENTS[:seen])], None, "live") if seen else {}
    known = known_course(folded)
    stamp = Stamps({} if known is None else {COURSE: known}).curriculum(found, number)
    source = Source("interaction-events", 0, number)
    recorded_at = BEGAN + timedelta(minutes=minute)
    document = {**event_document(found, number, source, recorded_at, stamp), "_id": found.event_id}
    lists = [] if known is None else [{"_id": known.list_id, "lessons": known.ids}]
    [event_with_list] = with_lists([document], lists)
    return event_with_list


def findings(*learners: Document, owned: bool = True) -> list[str]:
    case = Case(
        Stored(events=[*EVENTS, *learners]),
        owned=frozenset({"courses"} if owned else ()),
        stale_after=timedelta(seconds=90),
    )
    return list(stamps(case))


@pytest.mark.parametrize(
    ("seen", "minute"), [(0, 0.5), (1, 1.5), (FIRST_LESSONS, 2), (DEPLOYED, 4.1), (REVISED, 99)]
)
@pytest.mark.parametrize("number", [1, 2])
def test_the_worker_stamps_what_the_oracle_expects(seen: int, minute: float, number: int) -> None:
    fields: list[dict[str, Any]] = [
        {"lesson_id": ObjectId(LESSON)},
        {"lesson_id": ObjectId(OTHER)},
        {"event_type": "course_enrolled", "lesson_id": None, "details": {}},
        {"event_type": "course_enrolled", "lesson_id": None, "details": {"total_lessons": 9}},
    ]
    learners = [learner_event(seen, minute, number, **each) for each in fields]
    assert findings(*learners) == []


def test_a_stamp_is_told_that_is_from_the_future_too_old_or_nobodys() -> None:
    lesson = {"lesson_id": ObjectId(LESSON)}
    early, late = learner_event(REVISED, 4.5, 1, **lesson), learner_event(DEPLOYED, 6.6, 1, **lesson)
    strange = {**learner_event(DEPLOYED, 4.5, 1, **lesson), "curriculum": {"version": "9.0"}}
    for each, words in ((early, "before or after"), (late, "before or after"), (strange, "never was")):
        [sentence] = findings(each)
        assert words in sentence
    assert findings(early, late, strange, owned=False) == []


def test_a_list_that_is_not_stored_or_is_another_one_is_told_whoevers_the_courses_are() -> None:
    first = learner_event(DEPLOYED, 4.5, 1, lesson_id=ObjectId(LESSON))
    name, lessons = first["curriculum"]["lesson_list"], first["curriculum"]["lessons"]
    without = {key: value for key, value in first["curriculum"].items() if key != "lessons"}
    bare = {**first, "curriculum": without}
    assert with_lists([bare], [{"_id": name, "lessons": lessons}]) == [first]
    for lists in ([], [{"_id": name, "lessons": lessons[::-1]}], [{"_id": bytes(16), "lessons": lessons}]):
        [read] = with_lists([bare], lists)
        [sentence] = findings(read, owned=False)
        assert "is not stored" in sentence


def test_a_first_event_of_before_has_the_list_itself() -> None:
    first = learner_event(DEPLOYED, 4.5, 1, lesson_id=ObjectId(LESSON))
    inline = {key: value for key, value in first["curriculum"].items() if key != "lesson_list"}
    assert findings({**first, "curriculum": inline}) == []
