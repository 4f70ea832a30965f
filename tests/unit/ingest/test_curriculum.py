"""The number of lessons of a course document, however odd the document."""

from typing import Any

import pytest

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
