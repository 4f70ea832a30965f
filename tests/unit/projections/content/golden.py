"""One history of each kind of stream about what courses are made of."""

from collections.abc import Mapping, Sequence

from projections.event import StoredEvent
from tests.unit.projections.content.events import ITEM, USER, content_event

_LESSON = [
    content_event(
        "lesson_content_created",
        details={"type": "article", "title": "One", "content": {"markdown_content": "# One\n\nTwo three."}},
    ),
    content_event("lesson_content_changed", 10, details={"type": "article", "description": "Short"}),
    content_event(
        "lesson_content_changed",
        20,
        details={"type": "video", "content": {"video_url": "https://v.example/1"}},
    ),
    content_event("lesson_content_deleted", 30),
]
_BLOCK = [
    content_event(
        "content_block_created",
        details={
            "type": "rich_text",
            "version": "1.0",
            "config": {"editor_type": "markdown", "features": {"math_equations": True}},
            "content": {
                "markdown": "# Steps\n\nAlgorithms are step-by-step procedures.",
                "html": "<h1>Steps</h1>",
            },
            "interactive_elements": [{"type": "quiz_embed", "quiz_id": ITEM}],
        },
    ),
    content_event("content_block_changed", 10, details={"config": {"features": {"math_equations": None}}}),
    content_event("content_block_changed", 5, details={"version": "0.9", "content": {"html": None}}),
]
_RELATIONSHIP = [
    content_event(
        "content_related",
        details={
            "parent_id": ITEM,
            "child_id": USER,
            "relationship_type": "contains",
            "order": 3,
            "display_rules": {"prerequisites": [ITEM], "conditions": [{"type": "quiz_score", "value": 80}]},
        },
    ),
    content_event("content_relationship_changed", 10, details={"order": 4}),
]
_WORKFLOW = [
    content_event(
        "workflow_started",
        details={
            "content_id": ITEM,
            "workflow_type": "course_publication",
            "stages": [
                {"name": "draft", "assigned_to": USER},
                {"name": "review", "due_date": "2024-04-01T00:00:00Z"},
            ],
            "metadata": {"priority": "high", "stakeholders": [USER]},
        },
    ),
    content_event("workflow_stage_started", 10, details={"stage": "draft"}),
    content_event("workflow_commented", 15, details={"stage": "draft", "comment": "Great", "author": USER}),
    content_event("workflow_stage_completed", 20, details={"stage": "draft"}),
    content_event("workflow_stage_completed", 30, details={"stage": "review"}),
]
CONTENT_HISTORIES: Mapping[tuple[str, ...], Sequence[StoredEvent]] = {
    ("content",): _LESSON,
    ("block",): _BLOCK,
    ("relationship",): _RELATIONSHIP,
    ("workflow",): _WORKFLOW,
}
