"""A stream projection with parts that the worker has never heard of: a learner's lessons, and how each one began.

A part says what had happened before its lesson began, so that an event which arrives late changes the parts of all
that began after it.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.catalogue import PROJECTIONS
from projections.event import READ_PATHS, StoredEvent
from projections.kinds import By, Catalogue, Document, Index, Parts, StreamProjection, Target
from projections.progress.projection import PROGRESS
from worker.contract.identity import foreign_object_id, stream_slot
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema

BROKEN: set[UUID] = set()
"""Events of which no part can be made, until the code is mended."""
PADDING: dict[str, str] = {"": ""}
"""What makes parts large."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: int
    projection_version: int


class Lessons(_Shape):
    version: int
    recorded_at: datetime
    lessons: list[ObjectId]
    events: list[dict[str, Any]]


class Beginning(_Shape):
    event_version: int
    lesson_id: ObjectId
    begun_by: UUID
    before: list[UUID]
    padding: str


def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    """Every event by when it happened, and the lessons in the order in which they began."""
    known = current or {"events": [], "recorded_at": events[0].recorded_at}
    new = [
        {"at": event.occurred_at, "id": event.event_id, "lesson": event.lesson_id, "version": event.version}
        for event in events
        if not event.is_void
    ]
    ordered = sorted([*known["events"], *new], key=lambda each: (each["at"], each["id"]))
    return {
        "stream_id": events[0].stream_id,
        "slot": stream_slot(events[0].stream_id),
        "version": events[-1].version,
        "projection_version": 1,
        "recorded_at": max([known["recorded_at"], *(event.recorded_at for event in events)]),
        "lessons": list(dict.fromkeys(each["lesson"] for each in ordered if each["lesson"] is not None)),
        "events": ordered,
    }


def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return fold(None, events, by)


def part_id(stream: str, lesson: ObjectId) -> ObjectId:
    return foreign_object_id(f"{stream}:{lesson}")


def named(document: Mapping[str, Any]) -> Mapping[ObjectId, int]:
    """Each lesson's part: made by the last event to arrive of those up to the one that began it."""
    found: dict[ObjectId, int] = {}
    highest = 0
    for event in document["events"]:
        highest = max(highest, event["version"])
        if event["lesson"] is not None:
            found.setdefault(part_id(document["stream_id"], event["lesson"]), highest)
    return found


def make(
    document: Mapping[str, Any], due: Set[ObjectId], carry: Any, events: Sequence[StoredEvent]
) -> tuple[Any, Sequence[Document]]:
    before: tuple[UUID, ...]
    before, begun = carry or ((), frozenset())
    made: list[Document] = []
    for event in events:
        if event.event_id in BROKEN:
            raise ArithmeticError("nothing can be made of this event")
        if event.lesson_id is not None and event.lesson_id not in begun:
            begun |= {event.lesson_id}
            identity = part_id(document["stream_id"], event.lesson_id)
            if identity in due:
                beginning = {"lesson_id": event.lesson_id, "begun_by": event.event_id, "before": [*before]}
                made.append({"_id": identity, **beginning, "padding": PADDING[""]})
        before = (*before, event.event_id)
    return (before, begun), made


LESSONS = StreamProjection(
    name="lessons",
    version=1,
    about=PROGRESS.about,
    target=Target("lessons", (Lessons,)),
    paths=tuple(name for name in Lessons.model_fields if name not in ("id", "rev")),
    fold=fold,
    refold=refold,
    parts=Parts(
        target=Target(
            "lesson_beginnings",
            (Beginning,),
            (Index("lesson_beginnings", "idx_lesson_beginnings_stream", (("stream_id", 1),)),),
        ),
        paths=("lesson_id", "begun_by", "before", "padding"),
        named=named,
        make=make,
        event_paths=READ_PATHS,
    ),
)


def _make_wrong(
    document: Mapping[str, Any], due: Set[ObjectId], carry: Any, events: Sequence[StoredEvent]
) -> tuple[Any, Sequence[Document]]:
    """Nothing is said to have happened before a lesson of every second learner."""
    carry, made = make(document, due, carry, events)
    wrong: Document = {"before": []} if int(document["stream_id"][-24:], 16) % 2 else {}
    return carry, [{**each, **wrong} for each in made]


WRONG = replace(LESSONS, parts=replace(LESSONS.parts, make=_make_wrong) if LESSONS.parts else None)
"""Makes other parts, to be built beside the live ones by its name."""
CATALOGUE = Catalogue((*PROJECTIONS, LESSONS))


def of_version(version: int) -> StreamProjection:
    """The same fold under another version."""

    def versioned(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
        return {**fold(current, events, by), "projection_version": version}

    def versioned_refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
        return versioned(None, events, by)

    return replace(LESSONS, version=version, fold=versioned, refold=versioned_refold)


@contextlib.asynccontextmanager
async def own_database(database: Database) -> AsyncIterator[Database]:
    """The same database with the collections of this projection, which are gone at the end."""
    BROKEN.clear()
    PADDING[""] = ""
    opened = open_database(database.client, database.prefix, CATALOGUE)
    await apply_schema(opened)
    yield opened
    for name in ("lessons", "lesson_beginnings"):
        for each in (name, f"{name}__trial"):
            await opened.content.drop_collection(each)


async def documents(database: Database) -> dict[str, Document]:
    """The documents by stream."""
    return {each["stream_id"]: each for each in await database.collection("lessons").find({}).to_list(None)}


async def parts(database: Database) -> dict[ObjectId, Document]:
    """The parts by id, without what differs by the order of arrival."""
    found = await database.collection("lesson_beginnings").find({}).to_list(None)
    left_out = ("rev", "event_version")
    return {each["_id"]: {name: each[name] for name in each if name not in left_out} for each in found}


def expected(events: Sequence[Document]) -> dict[ObjectId, Document]:
    """What the parts of these events must say, told without any of the code above."""
    found: dict[ObjectId, Document] = {}
    for stream in {event["stream_id"] for event in events}:
        own = [each for each in events if each["stream_id"] == stream and each["event_type"] != "void"]
        own.sort(key=lambda each: (each["occurred_at"], each["_id"]))
        for place, event in enumerate(own):
            lesson = event["event_data"].get("lesson_id")
            identity = None if lesson is None else part_id(stream, lesson)
            if identity is not None and identity not in found:
                found[identity] = {
                    "_id": identity,
                    "stream_id": stream,
                    "slot": stream_slot(stream),
                    "projection_version": 1,
                    "lesson_id": lesson,
                    "begun_by": event["_id"],
                    "before": [each["_id"] for each in own[:place]],
                    "padding": PADDING[""],
                }
    return found
