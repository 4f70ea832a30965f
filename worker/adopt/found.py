"""What is read for a page of records: in one snapshot where they are converted, else at a majority."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from projections.event import READ_PATHS
from worker.adopt.outcome import Document, InTheWay, Reason
from worker.adopt.plan import Course, Known
from worker.adopt.record import Adoptable
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.curriculum import CURRICULUM_PATHS, count_lessons, lesson_ids
from worker.storage.database import Database
from worker.storage.lesson_lists import with_lists
from worker.storage.transactions import Session

# Of a page's learners nearly none have events. Decoded they take some seven times as much.
_MOST_EVENT_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored of some learners, by stream."""

    events: Mapping[str, Sequence[Document]]
    kept: frozenset[str]
    courses: Mapping[ObjectId, Course]
    projections: Mapping[str, Sequence[tuple[Any, bytes]]] = field(default_factory=dict)
    """The platform's own documents in `user_progress_projections`: `_id` and bytes."""

    def known(self, record: Adoptable) -> Known:
        """What is stored of one of them."""
        own = self.projections.get(record.stream, ())
        return Known(
            events=self.events.get(record.stream, ()),
            is_kept=record.stream in self.kept,
            course=self.courses.get(record.course_id, Course()),
            projection=own[0][1] if own else None,
        )


async def find_known(database: Database, records: Sequence[Adoptable], session: Session | None) -> Found:
    """Events, documents and courses of these learners. Raises `InTheWay` where their events do not fit."""
    if not records:
        return Found({}, frozenset(), {})
    streams = {record.stream: stream_object_id(record.stream) for record in records}
    kept = await reading.find(
        database.user_progress, {"_id": {"$in": list(streams.values())}}, {"_id": 1}, session=session
    )
    there = {row["_id"] for row in kept.documents}
    return Found(
        events=await _events(database, list(streams), session),
        kept=frozenset(stream for stream, identity in streams.items() if identity in there),
        courses=await _courses(database, {record.course_id for record in records}, session),
        projections=await _projections(database, records, session),
    )


async def _events(
    database: Database, streams: Sequence[str], session: Session | None
) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = defaultdict(list)
    paths = dict.fromkeys(READ_PATHS, 1)
    rows = await reading.find(
        database.course_events,
        {"stream_id": {"$in": list(streams)}},
        paths,
        sort=[("stream_id", 1), ("version", 1)],
        max_bytes=_MOST_EVENT_BYTES,
        session=session,
    )
    if not rows.complete:
        detail = f"more than {_MOST_EVENT_BYTES} bytes of events are stored"
        raise InTheWay(Reason.NOT_FOLDABLE, detail)
    for event in await with_lists(database, rows.documents, session=session):
        found[event["stream_id"]].append(event)
    for each in rows.unreadable:  # the stream is not folded, and says so
        place = await reading.find_one(database.course_events, {"_id": each.id}, {"stream_id": 1})
        if isinstance(place, dict):
            found[place["stream_id"]].append({"event_type": "unreadable"})
    return found


async def _courses(
    database: Database, courses: Iterable[ObjectId], session: Session | None
) -> dict[ObjectId, Course]:
    found = await reading.find(
        database.courses, {"_id": {"$in": list(courses)}}, CURRICULUM_PATHS, session=session
    )
    return dict(found.through(_course).values)


def _course(document: Document) -> tuple[ObjectId, Course]:
    number = count_lessons(document)
    total = None if number is None else number["total_lessons"]
    return document["_id"], Course(total, lesson_ids(document))


async def _projections(
    database: Database, records: Sequence[Adoptable], session: Session | None
) -> dict[str, list[tuple[Any, bytes]]]:
    """Those that the platform keeps by itself, as the spec does: the worker's takes their place."""
    own = {stream_object_id(record.stream) for record in records}
    pairs = [{"user_id": record.user_id, "course_id": record.course_id} for record in records]
    rows = await reading.find_raw(database.user_progress_projections, {"$or": pairs}, session=session)
    found: dict[str, list[tuple[Any, bytes]]] = defaultdict(list)
    streams = {(record.user_id, record.course_id): record.stream for record in records}
    for raw in rows:
        row = reading.shown(raw) or {}
        stream = streams.get((row.get("user_id"), row.get("course_id")))  # type: ignore[arg-type]
        if stream is not None and row["_id"] not in own:
            found[stream].append((row["_id"], raw))
    return found
