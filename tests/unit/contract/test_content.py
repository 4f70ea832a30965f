"""Lessons, blocks, relationships and workflows: what is wrong in one event alone is refused, and at which field."""

from typing import Any

import pytest

from tests.unit.contract.records import ALL_EXAMPLES, accepted, fields, refused, with_details
from worker.contract.events.blocks import BLOCKS
from worker.contract.events.lessons import LESSONS
from worker.contract.events.relationships import RELATIONSHIPS
from worker.contract.events.workflows import WORKFLOWS
from worker.contract.rejection import RejectReason

FAMILIES = (LESSONS, BLOCKS, RELATIONSHIPS, WORKFLOWS)
ITEM = "65a4f0c2e13b7a0001c0a001"


@pytest.mark.parametrize("event_type", [name for family in FAMILIES for name in family.events])
def test_an_event_belongs_to_the_stream_of_what_it_is_about(event_type: str) -> None:
    [family] = [each for each in FAMILIES if event_type in each.events]
    [about] = family.about
    event = accepted(fields(event_type))
    assert event.stream_id == f"{about}_{fields(event_type)[f'{about}_id']}"
    without = {name: value for name, value in fields(event_type).items() if name != f"{about}_id"}
    assert refused(without) == (RejectReason.MISSING_FIELD, f"{about}_id")


@pytest.mark.parametrize("event_type", [name for family in FAMILIES for name in family.events])
def test_a_key_of_details_that_nobody_names_is_refused(event_type: str) -> None:
    reason, field = refused(with_details(event_type, nobody_knows=1))
    assert reason is RejectReason.UNKNOWN_FIELD
    assert str(field).endswith("nobody_knows")


def test_each_kind_of_content_needs_what_makes_it_such() -> None:
    kinds = {
        "video": "video_url",
        "article": "markdown_content",
        "quiz": "questions",
        "interactive": "editor_type",
        "assignment": "instructions",
    }
    for kind, needed in kinds.items():
        wrong = with_details("lesson_content_created", type=kind, content={"own": 1})
        reason, field = refused(wrong)
        assert (reason, str(field).rpartition(".")[2]) == (RejectReason.MISSING_FIELD, needed)
        accepted(fields("lesson_content_changed", details={"type": kind, "content": {"own": {"kept": 1}}}))
    assert refused(with_details("lesson_content_created", type="song"))[0] is RejectReason.INVALID_FIELD


@pytest.mark.parametrize(
    ("event_type", "wrong"),
    [
        ("lesson_content_changed", {"title": None}),
        ("lesson_content_changed", {"content": {"difficulty": 3}}),
        ("lesson_content_created", {"metadata": {"max_attempts": -2}}),
        ("content_block_created", {"media_assets": [{"type": "image", "url": "no address"}]}),
        ("content_block_created", {"interactive_elements": [{"type": "quiz_embed", "quiz_id": "none"}]}),
        ("content_block_changed", {"type": ""}),
        ("content_related", {"child_id": "65a4f0c2e13b7a0001bbbbbb"}),  # its own parent
        ("content_related", {"order": -1}),
        ("content_related", {"adaptive_params": {"personalization_weight": 1.5}}),
        ("content_related", {"relationship_type": ""}),
        ("workflow_started", {"stages": []}),
        ("workflow_started", {"stages": [{"name": "draft"}, {"name": "draft"}]}),
        ("workflow_started", {"stages": [{"name": str(each)} for each in range(51)]}),
        ("workflow_started", {"metadata": {"estimated_completion": "soon"}}),
        ("workflow_stage_assigned", {"assigned_to": "somebody"}),
        ("workflow_stage_rejected", {"return_to": ""}),
        ("workflow_commented", {"comment": "x" * 4_097}),
    ],
)
def test_a_wrong_value_is_refused(event_type: str, wrong: dict[str, Any]) -> None:
    reason, field = refused(with_details(event_type, **wrong))
    assert reason is RejectReason.INVALID_FIELD
    assert str(field).startswith("details")


def test_what_may_be_taken_away_may_be_null_and_nothing_else() -> None:
    accepted(fields("content_relationship_changed", details={"order": None, "display_rules": None}))
    accepted(fields("content_block_changed", details={"content": {"html": None}, "assessment": None}))
    accepted(with_details("workflow_stage_assigned", assigned_to=None, due_date=None))
    assert refused(with_details("content_block_created", config=None))[0] is RejectReason.INVALID_FIELD
    assert refused(with_details("content_related", parent_id=None))[0] is RejectReason.INVALID_FIELD


def test_a_comment_lies_apart() -> None:
    event = accepted(fields("workflow_commented"))
    said = ALL_EXAMPLES["workflow_commented"]["details"]
    assert event.personal == {"comment": said["comment"]}
    assert event.details == {name: each for name, each in said.items() if name != "comment"}


def test_content_may_be_as_long_as_its_topic_allows() -> None:
    text = {"type": "article", "title": "Long", "content": {"markdown_content": "word " * 175_000}}
    accepted(fields("lesson_content_created", details=text))
    text["description"] = "word " * 8_000
    assert refused(fields("lesson_content_created", details=text))[0] is RejectReason.DETAILS_TOO_LARGE
