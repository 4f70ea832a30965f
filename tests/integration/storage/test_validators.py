"""The server refuses what the models do not allow: one wrong field at a time, in every collection."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from hypothesis import given, settings
from pydantic import BaseModel
from pymongo.errors import BulkWriteError

from projections.event import StoredEvent
from projections.progress import fold
from tests.integration.storage.wrong_documents import (
    Document,
    Path,
    missing_fields,
    sample,
    unknown_fields,
    wrong_types,
)
from tests.unit.projections.events import arrive, event_sets
from worker.contract.event import Event
from worker.contract.identity import foreign_object_id
from worker.contract.source import Source
from worker.storage.database import FORMER, Collection, Database
from worker.storage.documents import event_document, void_document
from worker.storage.errors import write_failures
from worker.storage.models import MODELS

NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)
CHECKED = {name: models for name, models in MODELS.items() if name not in FORMER}
SHAPES = [(collection, model) for collection, models in CHECKED.items() for model in models]

_DOCUMENT_VALIDATION_FAILURE = 121

Wrong = Callable[[type[BaseModel]], Iterator[tuple[Path, Document]]]


async def _accepted(collection: Collection, wrong: Iterable[tuple[Path, Document]]) -> list[Path]:
    """The paths whose wrong documents the server did not refuse as invalid."""
    paths, documents = zip(*wrong, strict=True)
    with pytest.raises(BulkWriteError) as caught:
        await collection.insert_many(list(documents), ordered=False)
    refused = {
        failure.index
        for failure in write_failures(caught.value)
        if failure.code == _DOCUMENT_VALIDATION_FAILURE
    }
    return [path for index, path in enumerate(paths) if index not in refused]


async def test_a_full_sample_of_every_shape_is_accepted(any_database: Database) -> None:
    for name, model in SHAPES:
        await any_database.collection(name).insert_one({**sample(model), "_id": _own_id(model)})
    for name, models in CHECKED.items():
        assert await any_database.collection(name).count_documents({}) == len(models), name


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [wrong_types, missing_fields, unknown_fields])
async def test_every_document_with_one_wrong_field_is_refused(any_database: Database, wrong: Wrong) -> None:
    accepted = {}
    for name, model in SHAPES:
        documents = list(wrong(model))
        if documents:  # nothing is required of a user, and shared documents may hold unknown fields
            accepted[model.__name__] = await _accepted(any_database.collection(name), documents)
    assert {model: paths for model, paths in accepted.items() if paths} == {}
    assert len(accepted) > len(SHAPES) / 2


_DOCUMENT_VALIDATION_FAILURE = 121


def _own_id(model: type[BaseModel]) -> Any:
    """The sample's `_id`, made the model's own where shapes that share a collection would collide."""
    value = sample(model).get("_id", "any")
    if isinstance(value, ObjectId):
        return foreign_object_id(model.__name__)
    return f"{value}:{model.__name__}" if isinstance(value, str) else value


async def test_events_and_voids_are_accepted_as_ingest_makes_them(any_database: Database) -> None:
    bare = Event(
        event_id=UUID(int=1),
        event_type="lesson_view",
        occurred_at=NOON,
        user_id=ObjectId(),
        course_id=ObjectId(),
        fingerprint=b"\x01" * 32,
        details={},
    )
    full = Event(
        event_id=UUID(int=2),
        event_type="lesson_note_saved",
        occurred_at=NOON,
        user_id=ObjectId(),
        course_id=ObjectId(),
        fingerprint=b"\x02" * 32,
        lesson_id=ObjectId(),
        producer="player",
        session_id="s-1",
        correlation_id="c-1",
        device_type="phone",
        user_agent="agent",
        ip_address="192.0.2.1",
        text="a note",
        value=2**40,
        details={"nested": {"deep": [1, 2.5, None]}},
    )
    curriculum = {"version": 2.1, "module_id": ObjectId(), "lesson_type": "video", "skills": ["SQL"]}
    source = Source("interaction-events", 3, 2**33)
    await any_database.course_events.insert_many(
        [
            event_document(bare, 1, source, NOON, None),
            event_document(full, 1, source, NOON, curriculum),
            void_document(bare.stream_id, 2, NOON),
        ]
    )
    assert await any_database.course_events.count_documents({}) == 3


async def test_a_queue_item_as_the_platform_adds_it_is_accepted(any_database: Database) -> None:
    await any_database.analytics_queue.insert_one(
        {
            "event_type": "progress_updated",
            "data": {"percentage": 68.2},
            "status": "pending",
            "created_at": NOON,
            "retry_count": 0,
        }
    )
    assert await any_database.analytics_queue.count_documents({"status": "pending"}) == 1


async def test_the_platform_may_own_further_fields_of_a_progress_document(any_database: Database) -> None:
    (model,) = MODELS["user_progress"]
    document = sample(model) | {"achievements": [{"type": "streak"}], "learning_analytics": {}}
    await any_database.user_progress.insert_one(document)
    assert await any_database.user_progress.count_documents({"achievements.type": "streak"}) == 1


async def test_progress_documents_are_accepted_as_folds_make_them(any_database: Database) -> None:
    folded: list[Document] = []

    @settings(max_examples=100, database=None, deadline=None)
    @given(event_sets())
    def collect(events: list[StoredEvent]) -> None:
        # Each set becomes a learner of its own; the fold of a new stream, then one more batch.
        stream_owner = {"user_id": ObjectId(), "_id": ObjectId(), "rev": 1}
        arrived = arrive(events)
        first = fold(None, arrived[:1], "live")
        folded.append({**fold(first, arrived[1:], "live"), **stream_owner})

    await asyncio.to_thread(collect)
    await any_database.user_progress.insert_many(folded, ordered=False)
    assert await any_database.user_progress.count_documents({}) == len(folded)
