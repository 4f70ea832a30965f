"""The reads of a check: of bounded size, by an index where there is one, none of which decides anything."""

from collections.abc import AsyncGenerator, Hashable, Iterable, Mapping, Sequence
from collections.abc import Collection as Names
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from bson import MinKey, ObjectId

from projections.event import OWN_TYPES
from projections.kinds import StreamProjection
from worker.chunks import chunks
from worker.contract.identity import parse_stream_id, stream_id, stream_object_id
from worker.storage import reading
from worker.storage.database import Collection, Database
from worker.storage.errors import translated
from worker.storage.reading import Reading
from worker.storage.transactions import Session
from worker.verify.fold_audit import DocumentDigest

# About 1 MB of usual events, a few dozen streams whose documents and rows are then read together.
PAGE_EVENTS = 1_000
PAGE_DOCUMENTS = 1_000
# Decoded, documents of many small values take some ten times as much memory.
PAGE_BYTES = 4_000_000
# What one command may name: about 1 MB of ids.
_IDS_AT_ONCE = 10_000
_STREAM_INDEX = [("stream_id", 1), ("version", 1)]
_STREAM_ONLY = {"_id": 0, "stream_id": 1}


def pages(
    collection: Collection,
    query: Mapping[str, Any] = MappingProxyType({}),
    paths: Mapping[str, Any] | None = None,
    *,
    most: int | None = None,
    **options: Any,
) -> AsyncGenerator[Reading]:
    """The documents that match, in pages that fit in memory; `options` are those of the driver's `find`."""
    return reading.pages(
        collection, query, paths, most=most or PAGE_DOCUMENTS, max_bytes=PAGE_BYTES, **options
    )


def event_pages(database: Database, streams: Names[str] | None = None) -> AsyncGenerator[Reading]:
    """The events of these streams, of all where none is named, by stream and version."""
    query = {} if streams is None else {"stream_id": {"$in": list(streams)}}
    return pages(database.course_events, query, most=PAGE_EVENTS, sort=_STREAM_INDEX, hint=_STREAM_INDEX)


async def events_outside_streams(database: Database) -> AsyncGenerator[Reading]:
    """Events whose stream is no text, by id: in the index they stand before and behind all that is text."""
    first = {"version": MinKey()}
    bounds: Mapping[str, Any] = {"max": {"stream_id": "", **first}, "min": {"stream_id": {}, **first}}
    for name, bound in bounds.items():
        only: dict[str, Any] = {"hint": _STREAM_INDEX, name: bound}
        async for page in pages(database.course_events, {}, {"_id": 1}, most=PAGE_EVENTS, **only):
            yield page


def stream_pages(database: Database, stream: str) -> AsyncGenerator[Reading]:
    """The events of one stream by version."""
    return pages(database.course_events, {"stream_id": stream}, most=PAGE_EVENTS, sort=[("version", 1)])


async def digests_of(
    database: Database, projection: StreamProjection, streams: Iterable[str]
) -> dict[str, DocumentDigest]:
    """What the projection's documents of the streams say, by stream id; absent ones are left out.

    One document is in memory at a time, of which the platform's own fields stay on the server.
    """
    by_id = {stream_object_id(stream): stream for stream in streams}
    found: dict[str, DocumentDigest] = {}
    if not by_id:  # of most projections, in each page of events
        return found
    wanted = {"_id": {"$in": list(by_id)}}
    collection, paths = database.collection(projection.target.collection), projection.paths
    owned = dict.fromkeys(paths, 1)
    async for page in pages(collection, wanted, owned, most=1, batch_size=PAGE_DOCUMENTS):
        for document in page.documents:
            found[by_id[document["_id"]]] = DocumentDigest.of(document, paths)
        for each in page.unreadable:
            if isinstance(each.id, ObjectId):
                found[by_id[each.id]] = DocumentDigest(None, None, {}, each)
    return found


def rows_of(database: Database, streams: Iterable[str]) -> AsyncGenerator[Reading]:
    """The rows of these streams' learners in any of these courses, by the index on the learner."""
    about = [parse_stream_id(stream) or {} for stream in streams]
    ids = {name: [each[name] for each in about if len(each) == 2] for name in ("user_id", "course_id")}
    query = {f"metadata.{name}": {"$in": list(set(each))} for name, each in ids.items()}
    return pages(database.user_interactions, query, most=PAGE_EVENTS)


async def streams_with_events(database: Database, streams: Iterable[object]) -> set[str]:
    """Those of the streams that have an event."""
    events = database.course_events
    # Exactly texts: BSON's code is one for Python, too, that no set takes.
    asked = {stream for stream in streams if type(stream) is str}
    wanted = {"stream_id": {"$in": list(asked)}, "version": 1}
    # Nearly every stream starts at version 1: one covered read. One with a hole there is asked alone.
    first = await reading.find(events, wanted, _STREAM_ONLY)
    found = {event["stream_id"] for event in first.documents}
    return found | {
        stream
        for stream in asked - found
        if await reading.find_one(events, {"stream_id": stream}, _STREAM_ONLY)
    }


async def events_in_stream(database: Database, stream: str, ids: Sequence[object]) -> set[UUID]:
    """Those of the ids that are events of this stream and should have a row."""
    named = [each for each in ids if isinstance(each, UUID)]
    found: set[UUID] = set()
    for some in chunks(named, _IDS_AT_ONCE):
        wanted = {"_id": {"$in": some}, "stream_id": stream, "event_type": {"$nin": list(OWN_TYPES)}}
        events = await reading.find(database.course_events, wanted, {"_id": 1})
        found |= {event["_id"] for event in events.documents}
    return found


async def yielding_streams(database: Database, projection: StreamProjection, streams: Names[str]) -> set[str]:
    """Those of the streams in whose document's place one of the platform's own stands."""
    key = projection.yields_to
    if key is None or not streams:
        return set()
    named: dict[Any, str] = {}
    paths = {"stream_id": 1, f"event_data.details.{key}": 1}
    async for page in pages(database.course_events, {"stream_id": {"$in": list(streams)}}, paths):
        for event in page.documents:
            details = (event.get("event_data") or {}).get("details") or {}
            named[hashable(details.get(key))] = event["stream_id"]
    platforms = {key: {"$in": list(named)}, "stream_id": {"$exists": False}}
    found = await reading.find(database.collection(projection.target.collection), platforms, {key: 1})
    return {named[hashable(row[key])] for row in found.documents}


async def absent(collection: Collection, ids: Iterable[Any], session: Session | None = None) -> list[Any]:
    """Those of the ids under which there is no document, each once."""
    named = {hashable(identity): identity for identity in ids}
    wanted = {"_id": {"$in": list(named.values())}}
    found = await reading.find(collection, wanted, {"_id": 1}, session=session)
    known = {hashable(document["_id"]) for document in found.documents}
    return [identity for name, identity in named.items() if name not in known]


def hashable(identity: Any) -> Any:
    """An id is a key here; one that is a document has no place among those that are looked up."""
    return identity if isinstance(identity, Hashable) else repr(identity)


async def server_times(database: Database) -> tuple[datetime, int]:
    """The server's clock, by which queues and leases are dated, and the cluster's time in seconds."""
    with translated():
        reply = await database.client.admin.command("hello")
    now = reply["localTime"].replace(tzinfo=UTC)  # always UTC, however the client decodes dates
    cluster_time = reply.get("operationTime")
    return now, int(now.timestamp()) if cluster_time is None else int(cluster_time.time)


def stream_of(row: Mapping[str, Any]) -> str | None:
    """The stream whose learner and course the row names; None where it names none."""
    metadata = row.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    user, course = named.get("user_id"), named.get("course_id")
    return stream_id(course, user) if isinstance(user, ObjectId) and isinstance(course, ObjectId) else None
