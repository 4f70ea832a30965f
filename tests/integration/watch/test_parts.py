"""A projection that owns parts of a field, and whose document begins with a certain event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.catalogue import CATALOGUE as OURS
from projections.event import StoredEvent
from projections.kinds import By, Catalogue, Document, StreamProjection, Target
from projections.paths import by_path, nested
from projections.progress.projection import PROGRESS
from tests.support.progress import fold_dependencies, histories, projector, store
from worker.contract.identity import stream_object_id, stream_slot
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.watch.folds.projector import Projector
from worker.watch.folds.promotion import Promotion, images_of
from worker.watch.folds.rebuild import DocumentRebuild
from worker.watch.folds.shadow import Shadow


class Shown(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    events: int


class Begun(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: int
    version: int
    projection_version: int
    recorded_at: datetime
    shown: Shown


def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    """How many events there are, voids left out."""
    before = 0 if current is None else current["shown"]["events"]
    recorded = [each.recorded_at for each in events]
    return {
        "stream_id": events[0].stream_id,
        "slot": stream_slot(events[0].stream_id),
        "version": events[-1].version,
        "projection_version": 1,
        "recorded_at": max(recorded if current is None else [current["recorded_at"], *recorded]),
        "shown": {"events": before + sum(not each.is_void for each in events)},
    }


def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return fold(None, events, by)


PARTS = StreamProjection(
    name="parts",
    version=1,
    about=PROGRESS.about,
    target=Target("parts", (Begun,)),
    paths=("stream_id", "slot", "version", "projection_version", "recorded_at", "shown.events"),
    fold=fold,
    refold=refold,
    begun=lambda fields: fields["shown"]["events"] >= 3,
)
[(STREAM, EVENTS)] = histories(learners=1, events=6).items()
SELF = {"_id": stream_object_id(STREAM)}


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(database.client, database.prefix, Catalogue((*OURS.projections, PARTS)))
    await apply_schema(opened)
    return opened


async def shown(database: Database) -> Any:
    found = await database.collection("parts").find_one(SELF)
    return None if found is None else found["shown"]


def folding(database: Database) -> Projector:
    return projector(database, projection=PARTS)


async def faults_of(database: Database) -> dict[str, int]:
    """What is wrong with the documents of this projection, in a system at rest."""
    found = (await verify(database, quiescent=True)).faults
    return dict(found.get("parts", {}))


async def test_nothing_is_stored_before_the_document_begins_and_nothing_is_missed(own: Database) -> None:
    await store(own, EVENTS[:2])
    await folding(own).project({STREAM: 2})

    assert await shown(own) is None
    assert await own.analytics_queue.count_documents({}) == 0
    assert await faults_of(own) == {}
    rebuild = DocumentRebuild(fold_dependencies(own, PARTS))
    compared = await rebuild.compare([STREAM])
    assert (compared.differing, compared.missing) == (0, 0)
    assert (await rebuild([STREAM])).counts()["unchanged"] == 1

    await store(own, EVENTS[2:3])
    assert await faults_of(own) == {"missing": 1}
    await folding(own).project({STREAM: 3})
    assert await shown(own) == {"events": 3}
    assert await faults_of(own) == {}


async def test_of_a_shared_field_only_the_own_part_is_written_compared_and_mended(own: Database) -> None:
    await store(own, EVENTS[:3])
    await folding(own).project({STREAM: 3})
    documents = own.collection("parts")
    await documents.update_one(SELF, {"$set": {"shown.note": "the platform's"}})
    await store(own, EVENTS[3:])
    await folding(own).project({STREAM: 6})

    assert await shown(own) == {"events": 6, "note": "the platform's"}
    assert await faults_of(own) == {}
    for damage in ({"shown.events": 7}, {"shown": "no document"}):
        await documents.update_one(SELF, {"$set": damage}, bypass_document_validation=True)
        assert (await faults_of(own)).get("different") == 1
        await DocumentRebuild(fold_dependencies(own, PARTS))([STREAM])
        assert (await shown(own))["events"] == 6
        assert await faults_of(own) == {}


async def test_a_document_that_no_event_begins_stays_and_its_stream_waits_in_the_queue(own: Database) -> None:
    await own.collection("parts").insert_one(
        {**SELF, "rev": 1, **fold(None, [*map(StoredEvent.from_document, EVENTS[:3])], "live")}
    )
    await store(own, EVENTS[:2])
    await DocumentRebuild(fold_dependencies(own, PARTS))([STREAM])

    assert await shown(own) == {"events": 3}
    [item] = await own.analytics_queue.find({}).to_list(None)
    assert item["last_error"] == "none of its events begins the document that stands there"


def test_fields_by_path_are_those_of_the_document() -> None:
    document = {"a": {"x": 1, "y": None, "z": 3}, "b": 2}
    assert by_path(document, ("a.x", "a.y", "a.w")) == {"b": 2, "a.x": 1, "a.y": None}
    assert nested({"b": 2, "a.x": 1, "a.y": {}}) == {"b": 2, "a": {"x": 1, "y": {}}}


def twice(fields: Document) -> Document:
    return {**fields, "shown": {"events": 2 * fields["shown"]["events"]}}


async def test_what_was_built_of_a_part_is_promoted_and_put_back_and_the_rest_of_the_field_stays(
    own: Database,
) -> None:
    other = replace(
        PARTS,
        fold=lambda current, events, by: twice(fold(current, events, by)),
        refold=lambda events, keep, by: twice(fold(None, events, by)),
    )
    await store(own, EVENTS[:4])
    await folding(own).project({STREAM: 4})
    await own.collection("parts").update_one(SELF, {"$set": {"shown.note": "the platform's"}})
    shadow = Shadow(fold_dependencies(own, PARTS), other, "trial")
    difference = await shadow.build([STREAM])
    assert dict(difference.paths) == {"shown.events": 1}

    promotion = Promotion(shadow.live, own.before_images, PARTS.paths, "promote-1")
    done = await promotion.promote(await shadow.stored([STREAM]), SystemClock().now())
    assert done.done == [STREAM]
    assert await shown(own) == {"events": 8, "note": "the platform's"}

    restored = await promotion.restore(await images_of(own.before_images, "promote-1", None, 10))
    assert restored.done == [STREAM]
    assert await shown(own) == {"events": 4, "note": "the platform's"}
    assert await faults_of(own) == {}
