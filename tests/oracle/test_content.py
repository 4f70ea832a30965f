"""The oracle agrees with the worker's folds of content, and finds what is damaged in their documents."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import CATALOGUE
from projections.content.relationships import CONTENT_CYCLES
from projections.contests import decide_afresh
from projections.event import StoredEvent
from projections.kinds import Document
from tests.oracle.case import Case
from tests.oracle.content import content_documents, cycles
from tests.oracle.stored import Stored
from tests.unit.projections.content.events import ITEM, LESSON, USER, content_document
from worker.contract.identity import stream_object_id

Stores = dict[str, list[Document]]

_BACK = "5f0000000000000000000b01"
EVENTS: Mapping[str, Sequence[Document]] = {
    "lesson_content": [
        content_document(
            "lesson_content_created",
            details={"type": "article", "title": "One", "content": {"markdown_content": "# One\n\nTwo."}},
        )
    ],
    "content_blocks": [
        content_document(
            "content_block_created", details={"type": "rich_text", "content": {"html": "<p>One two.</p>"}}
        )
    ],
    "content_relationships": [
        content_document(
            "content_related",
            at,
            item=item,
            details={"parent_id": parent, "child_id": child, "relationship_type": "contains"},
        )
        for at, item, parent, child in ((0, ITEM, LESSON, USER), (10, _BACK, USER, LESSON))
    ],
    "content_workflow": [
        content_document(
            "workflow_started",
            details={"content_id": ITEM, "workflow_type": "revision", "stages": [{"name": "draft"}]},
        ),
        content_document("workflow_stage_completed", 10, details={"stage": "draft"}),
    ],
}


@pytest.fixture
def stores() -> Stores:
    """The documents as the worker makes them."""
    made: Stores = {}
    for projection in CATALOGUE.streams:
        streams: dict[str, list[StoredEvent]] = {}
        for event in numbered(EVENTS.get(projection.target.collection, ())):
            streams.setdefault(event["stream_id"], []).append(StoredEvent.from_document(event))
        made[projection.target.collection] = [
            {"_id": stream_object_id(stream), "rev": 1, **projection.refold(events, None, "live")}
            for stream, events in streams.items()
        ]
    decided = decide_afresh(CONTENT_CYCLES, made["content_relationships"])
    for document in made["content_relationships"]:
        document.update(decided[document["_id"]].values)
    return made


def numbered(events: Sequence[Document]) -> list[Document]:
    versions: dict[str, int] = {}
    for event in events:
        versions[event["stream_id"]] = versions.get(event["stream_id"], 0) + 1
        event["version"] = versions[event["stream_id"]]
    return list(events)


def found(stores: Stores) -> list[str]:
    events = [event for some in EVENTS.values() for event in numbered(some)]
    others = {f"platform_content.{name}": documents for name, documents in stores.items()}
    case = Case(Stored(events=events, others=others))
    return [*content_documents(case), *cycles(case)]


def test_both_agree(stores: Stores) -> None:
    assert found(stores) == []


def _set(collection: str, *path: Any, to: Any, place: int = 0) -> Callable[[Stores], None]:
    def damage(stores: Stores) -> None:
        *way, last = path
        part: Any = stores[collection][place]
        for name in way:
            part = part[name]
        part[last] = to

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _set("lesson_content", "type", to="quiz"),
        _set("lesson_content", "content", "reading_time", to=2),
        _set("lesson_content", "_id", to=ObjectId()),
        _set("content_blocks", "content", "metadata", "word_count", to=3),
        _set("content_blocks", "version", to=2),
        _set("content_relationships", "order", to=1),
        _set("content_relationships", "effective", to=True, place=1),
        _set("content_relationships", "effective", to=False),
        _set("content_workflow", "stages", 0, "status", to="completed"),
        _set("content_workflow", "without_effect", to=None),
        _set("content_workflow", "without_effect", "latest", 0, "reason", to="ended"),
        lambda stores: stores["content_blocks"].clear(),
        lambda stores: stores["content_workflow"].append(stores["content_workflow"][0]),
    ],
)
def test_damage_is_found(stores: Stores, damage: Callable[[Stores], None]) -> None:
    damage(stores)
    assert found(stores) != []
