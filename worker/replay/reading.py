"""The reads of a check: of bounded size, by an index where there is one, none of which decides anything."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bson import ObjectId

from worker.contract.identity import stream_object_id
from worker.storage.database import Database, Document
from worker.storage.driver import aggregate
from worker.storage.errors import translated

Owner = tuple[ObjectId | None, ObjectId | None]
"""A learner and a course: what a row says of its stream."""

# About 1 MB of usual events, a few dozen streams whose documents and rows are then read together.
PAGE_EVENTS = 1_000
PAGE_DOCUMENTS = 1_000
_STREAM_INDEX = [("stream_id", 1), ("version", 1)]


async def event_pages(database: Database) -> AsyncIterator[list[Document]]:
    """All events by stream and version. Each page starts behind the last event of the one before."""
    after: tuple[str, int] | None = None
    while True:
        cursor = database.course_events.find({}).sort(_STREAM_INDEX).hint(_STREAM_INDEX).limit(PAGE_EVENTS)
        if after is not None:
            cursor = cursor.min([("stream_id", after[0]), ("version", after[1] + 1)])
        with translated():
            page = await cursor.to_list(None)
        if not page:
            return
        yield page
        after = (page[-1]["stream_id"], page[-1]["version"])


async def stream_pages(database: Database, stream: str) -> AsyncIterator[list[Document]]:
    """The events of one stream by version."""
    version = 0
    while True:
        wanted = {"stream_id": stream, "version": {"$gt": version}}
        with translated():
            page = (
                await database.course_events.find(wanted).sort("version", 1).limit(PAGE_EVENTS).to_list(None)
            )
        if not page:
            return
        yield page
        version = page[-1]["version"]


async def documents_of(database: Database, streams: Iterable[str]) -> dict[str, Document]:
    """The progress documents of the streams, by stream id; absent ones are left out."""
    by_id = {stream_object_id(stream): stream for stream in streams}
    with translated():
        documents = await database.user_progress.find({"_id": {"$in": list(by_id)}}).to_list(None)
    return {by_id[document["_id"]]: document for document in documents}


async def document_pages(database: Database) -> AsyncIterator[list[Document]]:
    """`_id`, `stream_id` and `projection_version` of all progress documents."""
    wanted: Document = {}
    while True:
        cursor = database.user_progress.find(wanted, {"stream_id": 1, "projection_version": 1})
        with translated():
            page = await cursor.sort("_id", 1).limit(PAGE_DOCUMENTS).to_list(None)
        if not page:
            return
        yield page
        wanted = {"_id": {"$gt": page[-1]["_id"]}}


async def rows_of(database: Database, owners: Iterable[Owner]) -> AsyncIterator[tuple[Owner, Document]]:
    """The rows of these learners in these courses, each with its owner, by the index on the learner."""
    wanted = set(owners)
    learners, courses = ({owner[part] for owner in wanted} for part in (0, 1))
    query = {"metadata.user_id": {"$in": list(learners)}, "metadata.course_id": {"$in": list(courses)}}
    with translated():
        async for row in database.user_interactions.find(query):
            owner = row_owner(row)
            if owner in wanted:
                yield owner, row


async def row_owners(database: Database) -> AsyncIterator[Owner]:
    """The learner and course of every row of the time series, one by one, in no order."""
    fields = {"_id": 0, "metadata.user_id": 1, "metadata.course_id": 1}
    with translated():
        async for row in database.user_interactions.find({}, fields):
            yield row_owner(row)


async def streams_with_events(database: Database, streams: Sequence[str]) -> set[str]:
    """Those of the streams that have an event."""
    events = database.course_events
    with translated():
        # Nearly every stream starts at version 1: one covered read. One with a hole there is asked alone.
        first = await events.find(
            {"stream_id": {"$in": list(streams)}, "version": 1}, {"_id": 0, "stream_id": 1}
        ).to_list(None)
        found = {event["stream_id"] for event in first}
        for stream in set(streams) - found:
            if await events.find_one({"stream_id": stream}, {"_id": 1}) is not None:
                found.add(stream)
    return found


async def events_in_stream(database: Database, stream: str, event_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the ids that are events of this stream and should have a row."""
    wanted = {"_id": {"$in": list(event_ids)}, "stream_id": stream, "event_type": {"$ne": "void"}}
    with translated():
        found = await database.course_events.find(wanted, {"_id": 1}).to_list(None)
    return {event["_id"] for event in found}


async def streams_set_aside(database: Database, streams: Iterable[str]) -> set[str]:
    """Those of the streams whose fold failed and waits in `analytics_queue`."""
    keys = {f"progress:{stream}": stream for stream in streams}
    if not keys:
        return set()
    wanted = {"_id": {"$in": list(keys)}, "status": {"$ne": "completed"}}
    with translated():
        items = await database.analytics_queue.find(wanted, {"_id": 1}).to_list(None)
    return {keys[item["_id"]] for item in items}


async def dead_letter_counts(database: Database) -> list[Document]:
    """Number of dead letters as `{kind, reason, count}`; parts of large ones are not counted."""
    group = {"_id": {"kind": "$kind", "reason": "$reason"}, "count": {"$sum": 1}}
    with translated():
        groups = await aggregate(
            database.dead_letters, [{"$match": {"kind": {"$ne": "part"}}}, {"$group": group}]
        )
    return [{**found["_id"], "count": found["count"]} for found in groups]


def row_owner(row: Mapping[str, Any]) -> Owner:
    """What the row says; None where it says nothing."""
    metadata = row.get("metadata") or {}
    return metadata.get("user_id"), metadata.get("course_id")
