"""Verify checks projections of every kind that it has never heard of: those declared here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.catalogue import CATALOGUE as OURS
from projections.event import StoredEvent
from projections.kinds import (
    By,
    Catalogue,
    Document,
    Read,
    ReadModel,
    StreamProjection,
    Sum,
    SumProjection,
    Target,
    Trigger,
)
from projections.progress.projection import PROGRESS
from tests.integration.verify.history import COURSE, Learner, learner, store
from tests.support.counts import counter, dependencies
from worker.contract.identity import stream_object_id, stream_slot
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema
from worker.verify.run import verify
from worker.watch.sums.declared import SOURCE

NAMES = ("ada", "ben", "vic")
TARGET = learner("vic")
EVENTS = 12


class _Closed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)


class Activity(_Closed):
    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    user_id: ObjectId
    course_id: ObjectId
    slot: int
    version: int
    projection_version: int
    recorded_at: datetime
    events: int


class CountedActivity(_Closed):
    id: ObjectId = Field(alias="_id")
    course_id: ObjectId
    source_rev: int
    counts_version: int
    counted: dict[str, int]


class Total(_Closed):
    id: ObjectId = Field(alias="_id")
    activity: dict[str, int]


class Board(_Closed):
    id: ObjectId = Field(alias="_id")
    as_of: datetime
    learners: int


def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    """How many events a learner has in a course, voids left out."""
    first, last = events[0], events[-1]
    known = current or {"events": 0}
    return {
        "stream_id": first.stream_id,
        "user_id": first.user_id,
        "course_id": first.course_id,
        "slot": stream_slot(first.stream_id),
        "version": last.version,
        "projection_version": 1,
        "recorded_at": max(event.recorded_at for event in events),
        "events": known["events"] + sum(not event.is_void for event in events),
    }


def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return fold(None, events, by)


ACTIVITY = StreamProjection(
    name="activity",
    version=1,
    about=PROGRESS.about,
    target=Target("activity", (Activity,)),
    paths=("stream_id", "user_id", "course_id", "slot", "version", "projection_version", "events"),
    fold=fold,
    refold=refold,
)
TOTALS = SumProjection(
    name="totals",
    version=1,
    source="activity",
    vector=lambda document: {"events": document["events"]},
    counted=Target("activity_counted", (CountedActivity,)),
    sums=(Sum("activity_totals", "course_id", lambda sums: {"activity": dict(sums)}),),
    shows=(Target("activity_totals", (Total,)),),
)
BOARD = ReadModel(
    name="board",
    version=1,
    target=Target("activity_board", (Board,)),
    triggers=(Trigger("activity", lambda document: document["course_id"]),),
    reads={"learners": Read("activity", lambda course: {"course_id": course}, ("events",))},
    build=lambda _, read: {"learners": len(read["learners"])} if read["learners"] else None,
)
CATALOGUE = Catalogue((*OURS.projections, ACTIVITY, TOTALS, BOARD))


@pytest.fixture
async def whole(database: Database) -> Database:
    """A store in which everything agrees, those three included."""
    own = open_database(database.client, database.prefix, CATALOGUE)
    await apply_schema(own)
    history = [learner(name) for name in NAMES]
    await store(own, history)
    documents = [_document(each) for each in history]
    await own.collection("activity").insert_many(documents)
    await own.collection("activity_counted").insert_many(_counted(each) for each in documents)
    added = sum(document["events"] for document in documents)
    await own.collection("activity_totals").insert_one({"_id": COURSE, "activity": {"events": added}})
    at = documents[0]["recorded_at"]
    await own.collection("activity_board").insert_one({"_id": COURSE, "as_of": at, "learners": len(NAMES)})
    return own


def _document(of: Learner) -> Document:
    events = [StoredEvent.from_document(event) for event in of.events]
    return {"_id": stream_object_id(of.stream), "rev": 1, **refold(events, None, "live")}


def _counted(document: Document) -> Document:
    kept = {name: document[name] for name in ("_id", "course_id")}
    vector = dict(TOTALS.vector(document))
    return {**kept, "source_rev": document["rev"], "counts_version": 1, "counted": vector}


async def test_what_agrees_has_no_finding_and_is_counted_by_name(whole: Database) -> None:
    verification = await verify(whole, quiescent=True)

    assert verification.ok, verification.findings
    assert {name: verification.of(name).documents for name in ("activity", "totals", "board")} == {
        "activity": 3,
        "totals": 3,
        "board": 1,
    }


async def test_what_its_executor_counts_agrees(whole: Database) -> None:
    counted, totals = whole.collection("activity_counted"), whole.collection("activity_totals")
    await counted.delete_many({})
    await totals.delete_many({})
    given = dependencies(whole)
    sums = counter(given, name=TOTALS.name)
    await sums.count(frozenset((SOURCE, stream_object_id(learner(name).stream)) for name in NAMES))
    await given.transactions.close()

    verification = await verify(whole, quiescent=True)

    assert verification.ok, verification.findings
    assert await counted.count_documents({}) == len(NAMES)
    assert await totals.count_documents({}) == 1


Damage = Callable[[Database], Awaitable[Any]]


def update(collection: str, identity: Any, **paths: Any) -> Damage:
    change = {"$set": {path.replace("__", "."): value for path, value in paths.items()}}
    return lambda database: database.collection(collection).update_one({"_id": identity}, change)


def delete(collection: str, identity: Any) -> Damage:
    return lambda database: database.collection(collection).delete_one({"_id": identity})


IDENTITY = stream_object_id(TARGET.stream)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("activity_different", update("activity", IDENTITY, events=99)),
        ("activity_ahead", update("activity", IDENTITY, version=99)),
        ("activity_missing", delete("activity", IDENTITY)),
        ("activity_newer", update("activity", IDENTITY, projection_version=9)),
        ("totals_different", update("activity_counted", IDENTITY, counted__events=1)),
        ("totals_behind", update("activity_counted", IDENTITY, source_rev=0)),
        ("totals_ahead", update("activity_counted", IDENTITY, source_rev=9)),
        ("totals_missing", delete("activity_counted", IDENTITY)),
        ("totals_newer", update("activity_counted", IDENTITY, counts_version=9)),
        ("totals_different", update("activity_totals", COURSE, activity__events=1)),
        ("board_different", update("activity_board", COURSE, learners=9)),
        ("board_missing", delete("activity_board", COURSE)),
    ],
)
async def test_each_damage_is_found_by_the_name_of_the_projection(
    whole: Database, name: str, damage: Damage
) -> None:
    await damage(whole)

    found = (await verify(whole, quiescent=True)).finding_counts

    assert name in found
    # What rests on the damaged document is told as well, and nothing of the worker's own projections.
    assert {each.partition("_")[0] for each in found} <= {"activity", "totals", "board"}
