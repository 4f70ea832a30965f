"""The specification's lesson, block, relationship and workflow: events that rebuild them, field by field."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from projections.content.blocks import CONTENT_BLOCKS
from projections.content.lessons import LESSON_CONTENT
from projections.content.relationships import CONTENT_RELATIONSHIPS
from projections.content.workflow import CONTENT_WORKFLOW
from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from tests.spec.compare import plain, sample, unexplained
from tests.spec.extract import paths
from tests.unit.projections.content.events import ITEM, LESSON, USER, content_event, folded
from tests.unit.projections.events import START
from worker.contract.identity import stream_object_id
from worker.storage.database import Database
from worker.verify.shapes import misfits_of

OTHERWISE = {
    "content_blocks": {
        "version": "the author's version is `block_version`: `version` counts the events of the stream",
        "content.metadata.word_count": "computed of the text, of which the specification shows the beginning",
        "content.metadata.reading_time": "computed of the text, of which the specification shows the beginning",
        "content.metadata.complexity_level": "computed of the text, of which the specification shows the beginning",
    }
}
"""By collection, the paths of the sample that the document has otherwise, with the reason."""


def said(value: Any) -> Any:
    """The sample as a producer would write it, with an id wherever it leaves one open."""
    if isinstance(value, Mapping) and "$oid" in value:
        return value["$oid"] or USER
    if isinstance(value, Mapping) and "$date" in value:
        return f"{value['$date']}T00:00:00Z"
    if isinstance(value, Mapping):
        return {name: said(each) for name, each in value.items()}
    return [said(each) for each in value] if isinstance(value, list) else plain(value)


def when(date: Mapping[str, Any]) -> float:
    """Seconds into the story of the tests."""
    return (datetime.fromisoformat(said(date)) - START).total_seconds()


def described(collection: str, *without: str) -> Document:
    """What the sample says beside ids and dates of its own."""
    own = ("_id", "created_at", "updated_at", *without)
    return {name: said(each) for name, each in sample(collection).items() if name not in own}


def lesson() -> Sequence[StoredEvent]:
    details = described("lesson_content", "lesson_id")
    return [content_event("lesson_content_created", details=details, lesson_id=LESSON)]


def block() -> Sequence[StoredEvent]:
    details = described("content_blocks")
    details["content"].pop("metadata")
    return [content_event("content_block_created", details=details)]


def relationship() -> Sequence[StoredEvent]:
    details = described("content_relationships") | {"parent_id": ITEM}
    return [content_event("content_related", details=details)]


def workflow() -> Sequence[StoredEvent]:
    """Started, and every step that the sample's stages tell of."""
    wanted = sample("content_workflow")
    stages = [
        {name: said(each) for name, each in stage.items() if name in ("name", "assigned_to", "due_date")}
        for stage in wanted["stages"]
    ]
    names = ("content_id", "workflow_type", "metadata")
    started = {**{name: said(wanted[name]) for name in names}, "stages": stages}
    at = when({"$date": "2024-01-10"})
    events = [content_event("workflow_started", at - 1, details=started)]
    for stage in wanted["stages"]:
        name = {"stage": stage["name"]}
        if stage["status"] != "pending":
            events.append(content_event("workflow_stage_started", at, details=name))
        for each in stage["comments"]:
            comment = {**name, "comment": each["comment"], "author": said(each["author"])}
            events.append(content_event("workflow_commented", when(each["created_at"]), details=comment))
        if stage["status"] == "completed":
            at = when(stage["completed_at"])
            events.append(content_event("workflow_stage_completed", at, details=name))
            at += 1
    return events


REBUILT: Mapping[str, tuple[StreamProjection, Sequence[StoredEvent]]] = {
    "lesson_content": (LESSON_CONTENT, lesson()),
    "content_blocks": (CONTENT_BLOCKS, block()),
    "content_relationships": (CONTENT_RELATIONSHIPS, relationship()),
    "content_workflow": (CONTENT_WORKFLOW, workflow()),
}


def document_of(collection: str) -> Document:
    projection, events = REBUILT[collection]
    document = folded(projection, events)
    return {"_id": stream_object_id(document["stream_id"]), "rev": 1, **document}


@pytest.mark.parametrize("collection", REBUILT)
def test_events_rebuild_the_document_of_the_specification(collection: str) -> None:
    wanted, document = sample(collection), document_of(collection)
    otherwise = OTHERWISE.get(collection, {})
    assert unexplained(wanted, document, otherwise) == []
    assert set(otherwise) <= set(paths(wanted)), "each exception is a field of the specification"
    assert set(paths(document)) >= set(paths(wanted)), "and stands there all the same"
    assert misfits_of(REBUILT[collection][0].target.shapes, document) == []
    assert document.get("without_effect") is None


async def test_the_generated_validators_take_them(database: Database) -> None:
    for collection in REBUILT:
        await database.collection(collection).insert_one(document_of(collection))


def test_a_block_has_its_author_s_version_under_another_name() -> None:
    assert document_of("content_blocks")["block_version"] == sample("content_blocks")["version"]


# `polymorphicContentSchema` of the specification; its kinds stand in a pattern, not in a sample of their own.
KINDS: Mapping[str, Document] = {
    "video": {
        "video_url": "https://video.example.com/video123.mp4",
        "duration": 600,
        "transcript": "In this video, we'll learn...",
        "chapters": [
            {"title": "What are Variables?", "start_time": 0},
            {"title": "Variable Types", "start_time": 120},
        ],
    },
    "article": {
        "markdown_content": "# Variables\n\nVariables are...",
        "reading_time": 5,
        "table_of_contents": [{"title": "Introduction", "anchor": "introduction"}],
    },
    "quiz": {"questions": [], "time_limit": 300, "passing_score": 70, "randomize_questions": True},
    "assignment": {"instructions": "Write a program", "max_points": 10},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_content_of_the_specification_is_carried(kind: str) -> None:
    said_of_it = {
        "type": kind,
        "title": "Introduction to Variables",
        "description": "Learn about variables in programming",
        "content": KINDS[kind],
    }
    document = folded(LESSON_CONTENT, [content_event("lesson_content_created", details=said_of_it)])
    assert {name: document[name] for name in said_of_it} == said_of_it
    whole = {"_id": stream_object_id(document["stream_id"]), "rev": 1, **document}
    assert misfits_of(LESSON_CONTENT.target.shapes, whole) == []
