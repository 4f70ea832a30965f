"""The number of lessons of a course document, however odd the document."""

from typing import Any

import pytest

from tests.unit.ingest.samples import COURSE, candidate
from worker.ingest.curriculum import courses_to_count
from worker.storage.curriculum import count_lessons


def test_lessons_of_all_modules_are_counted() -> None:
    course = {"publication": {"version": 4}, "curriculum": [{"lessons": [{}, {}]}, {"lessons": [{}]}, {}]}
    assert count_lessons(course) == {"version": 4, "total_lessons": 3}


@pytest.mark.parametrize("publication", [None, "published", [], 7])
def test_an_odd_publication_costs_the_version_only(publication: Any) -> None:
    course = {"publication": publication, "curriculum": [{"lessons": [{}]}]}
    assert count_lessons(course) == {"version": None, "total_lessons": 1}


@pytest.mark.parametrize(
    "curriculum", [None, [], {}, "text", [None], [{"lessons": None}], [{"lessons": []}], [7], [[{}]]]
)
def test_a_course_without_lessons_counts_as_unknown(curriculum: Any) -> None:
    assert count_lessons({"curriculum": curriculum}) is None
    assert count_lessons({}) is None


def test_only_enrolments_without_a_total_ask_for_their_course() -> None:
    enrolment = {"event_type": "course_enrolled"}
    assert courses_to_count([candidate(1, 0, **enrolment)]) == {COURSE}
    assert courses_to_count([candidate(1, 0, **enrolment, details={"total_lessons": 3})]) == set()
    assert courses_to_count([candidate(1, 0)]) == set()
