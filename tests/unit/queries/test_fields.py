"""Fields by dotted path: what changed between two documents, and which paths a document can have."""

from typing import Any

import pytest
from bson import ObjectId

from projections.account.document import UserDocument
from projections.content.documents import LESSON_SHAPES
from projections.counts.document import ProgressProjection
from projections.progress.document import ProgressDocument
from worker.queries.fields import ABSENT, differing, value_at, why_unknown

FIRST, SECOND = ObjectId("0" * 23 + "1"), ObjectId("0" * 23 + "2")
LESSONS = [{"lesson_id": FIRST, "status": "completed"}, {"lesson_id": SECOND, "status": "in_progress"}]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, [("b.c", 3)]),
        ({}, {"a": None, "b": {"c": None}}, []),
        ({"a": None}, {"a": {"b": 1, "c": None}}, [("a.b", 1)]),
        ({"a": {"b": 1}}, {"a": {}}, [("a", {})]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, [("a.c", ABSENT)]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [("a", [2, 1])]),
        (
            {"a": LESSONS[:1]},
            {"a": LESSONS[::-1]},
            [(f"a.{SECOND}.lesson_id", SECOND), (f"a.{SECOND}.status", "in_progress")],
        ),
        ({"a": LESSONS}, {"a": LESSONS[::-1]}, []),
    ],
)
def test_the_innermost_fields_that_changed_are_told(
    before: dict[str, Any], after: dict[str, Any], found: list[tuple[str, Any]]
) -> None:
    assert list(differing(before, after)) == found


def test_entries_are_named_by_id_or_by_place() -> None:
    document = {"lessons": LESSONS, "numbers": [5]}
    assert value_at(document, f"lessons.{SECOND}.status") == "in_progress"
    assert value_at(document, "lessons.0.status") == "completed"
    assert value_at(document, "numbers.0") == 5
    for path in ("lessons.2", f"lessons.{ObjectId()}", "numbers.x", "lessons.0.status.x", "nothing"):
        assert value_at(document, path) is ABSENT


@pytest.mark.parametrize(
    "path",
    [
        "progress.percentage",
        "rating.value",
        f"lesson_progress.{FIRST}.quiz_results.score",
        "lesson_progress.0",
        f"state.lessons.{FIRST}.grade.v",
        "state.payment.v.amount",
    ],
)
def test_a_field_that_a_document_can_have_is_known(path: str) -> None:
    assert why_unknown([ProgressDocument], path) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("progres", "the document has _id, rev, "),
        ("progress.percent", "progress has percentage, completed_lessons, "),
        ("lesson_progress.first", "lesson_progress has <id or place>"),
        ("lesson_progress.0.mark", "lesson_progress.0 has lesson_id, status, "),
        ("rating.value.more", "rating.value has no fields"),
    ],
)
def test_for_any_other_the_fields_that_there_are_are_named(path: str, words: str) -> None:
    reason = why_unknown([ProgressDocument], path)
    assert reason is not None
    assert words in reason


def test_what_is_counted_is_a_map_of_any_names() -> None:
    assert why_unknown([ProgressProjection], "counted.completed") is None
    assert why_unknown([ProgressProjection], "current_state.status") is None


@pytest.mark.parametrize("path", ["content.video_url", "content.markdown_content", "content.of_the_producer"])
def test_of_several_shapes_and_of_what_producers_fill_every_field_is_known(path: str) -> None:
    assert why_unknown(LESSON_SHAPES, path) is None


def test_of_a_field_that_others_share_only_the_parts_that_are_named_are_known() -> None:
    owned = ("profile", "account.status", "account.roles")
    assert [why_unknown([UserDocument], path, owned) for path in (*owned, "account", "profile.bio")] == [
        None
    ] * 5
    assert why_unknown([UserDocument], "account.secret", owned) == "account has status, roles"
    assert why_unknown([UserDocument], "email", owned) == "the document has profile, account"
