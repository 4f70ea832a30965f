"""The worker's fold of courses and the oracle's agree; where a course was altered the oracle says so."""

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.content.courses.projection import COURSES
from projections.event import StoredEvent
from tests.oracle.case import Case
from tests.oracle.courses import course_documents
from tests.oracle.stored import Stored
from tests.support.courses import COURSE, STORED_AT, golden_course, stored
from tests.unit.projections.test_courses import histories
from worker.storage.database import Document
from worker.storage.documents import void_document


def case(events: list[Document], *documents: Document, owned: bool = True) -> Case:
    found = Stored(events=events, courses=documents)
    return Case(found, owned=frozenset({"courses"} if owned else ()))


def course(events: list[Document]) -> Document:
    folded = COURSES.refold([*map(StoredEvent.from_document, events)], None, "live")
    return {"_id": COURSE, "rev": 1, "slug": "full-stack", "stats": {}, **folded}


@given(histories(), st.randoms(use_true_random=False))
def test_the_oracle_says_of_any_history_what_the_worker_says(history: list[Document], random: Any) -> None:
    random.shuffle(history)
    events = stored(history)
    document = course(events)
    documents = [document] if COURSES.has_begun(document) else []
    assert list(course_documents(case(events, *documents))) == []


DAMAGE: dict[str, Callable[[Document], None]] = {
    "status": lambda each: each.update(status="draft"),
    "price": lambda each: each["pricing"]["price"].update(amount=1.0),
    "price that is not shown": lambda each: each["pricing"].update(each["state"]["aside"]),
    "price without a reason": lambda each: each["without_effect"].update(
        total=1, reasons={"wrong_status": 1}, latest=each["without_effect"]["latest"][1:]
    ),
    "lesson": lambda each: each["curriculum"][0]["lessons"].clear(),
    "instructor": lambda each: each["instructor"].update(user_id=ObjectId()),
    "refused": lambda each: each.update(without_effect=None),
    "changelog": lambda each: each["publication"]["changelog"].clear(),
    "claim": lambda each: each["claims"]["slug"].update(value="other"),
    "behind": lambda each: each.update(version=3),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_altered_course_is_told(damage: str) -> None:
    events = stored(golden_course())
    document = course(events)
    assert list(course_documents(case(events, document))) == []
    DAMAGE[damage](document)
    assert len(list(course_documents(case(events, document)))) >= 1


def test_a_missing_course_is_told_and_one_where_the_platform_keeps_them() -> None:
    events = stored(golden_course())
    assert list(course_documents(case(events))) != []
    assert list(course_documents(case(events, owned=False))) == []
    assert list(course_documents(case(events, course(events), owned=False))) != []


def test_a_void_is_no_event_of_the_course() -> None:
    events = stored(golden_course())
    hole = void_document(events[0]["stream_id"], len(events) + 1, STORED_AT)
    assert list(course_documents(case([*events, hole], course([*events, hole])))) == []
