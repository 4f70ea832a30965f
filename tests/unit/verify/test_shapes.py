"""A document's shape is judged as its collection's validator would, type for type."""

from collections.abc import Callable
from typing import Any

import pytest
from bson import Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.verify.counted import counted
from tests.integration.verify.dead_letters import dead_letter, gap, in_parts
from tests.integration.verify.history import START, learner
from worker.verify.sameness import same
from worker.verify.shapes import misfits, misfits_named

LEARNER = learner("ada")
EVENT = dict(LEARNER.events[2])
GOOD = [
    ("course_events", EVENT),
    ("course_events", dict(LEARNER.events[4])),  # a void
    ("user_progress", dict(LEARNER.progress)),
    ("user_progress_projections", dict(counted([LEARNER]).projections[0])),
    ("notifications", dict(counted([LEARNER]).notifications[0])),
    ("dead_letters", dead_letter(1)),
    ("dead_letters", in_parts(1)[1]),
    ("dead_letters", gap("retention")),
]
VALUES: list[Any] = [None, True, 1, 1.0, "text", b"bytes", START, ObjectId(), {}, [], -5, 300]


@pytest.mark.parametrize(("collection", "document"), GOOD)
def test_what_the_worker_writes_fits(collection: str, document: dict[str, Any]) -> None:
    assert misfits(collection, document) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda it: it | {"slot": 3.0}, "slot"),
        (lambda it: it | {"slot": True}, "slot"),
        (lambda it: it | {"slot": 256}, "slot"),
        (lambda it: it | {"stream_id": ""}, "stream_id"),
        (lambda it: it | {"more": 1}, "more"),
        (lambda it: {name: value for name, value in it.items() if name != "personal"}, "personal"),
        (
            lambda it: (
                it | {"metadata": it["metadata"] | {"source": it["metadata"]["source"] | {"offset": -1}}}
            ),
            "metadata.source",
        ),
    ],
)
def test_each_misfit_is_named_by_its_path(
    change: Callable[[dict[str, Any]], dict[str, Any]], path: str
) -> None:
    assert misfits("course_events", change(EVENT)) == [path]


def test_an_integer_may_be_of_either_width() -> None:
    assert misfits("course_events", EVENT | {"slot": Int64(EVENT["slot"])}) == []


@given(st.sampled_from(GOOD), st.data())
def test_a_document_fits_if_and_only_if_no_path_is_named(
    good: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """The quick look and the slow one, which names the paths, never differ."""
    collection, document = good
    name = data.draw(st.sampled_from(sorted(document)))
    value = data.draw(st.sampled_from(VALUES))
    found = misfits(collection, document | {name: value})

    assert all(path.split(".")[0] in (name, *document) for path in found)
    if same(document[name], value):
        assert found == []


def test_only_some_paths_are_misfits_named() -> None:
    assert misfits_named(["a", "b", "c", "d", "e", "f", "g"]).endswith("a, b, c, d, e and 2 more")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, False),
        (1, True, False),
        (1, Int64(1), True),
        ({"a": 1, "b": [1]}, {"b": [1], "a": 1}, True),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1, "b": None}, False),
        (START, START, True),
    ],
)
def test_when_two_values_are_the_same(one: object, other: object, expected: bool) -> None:
    assert same(one, other) is expected
