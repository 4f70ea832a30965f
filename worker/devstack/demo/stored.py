"""What MongoDB holds, counted for the demo: totals for the summary, sums that are cheap enough to poll."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from projections.kinds import StreamProjection, kind_to_fold
from worker.chunks import chunks
from worker.contract.families import LEARNER_TYPES
from worker.contract.family import LEARNER
from worker.contract.identity import stream_id, stream_object_id
from worker.contract.rejection import RejectReason
from worker.storage.database import Collection, Database, Document
from worker.storage.driver import aggregate
from worker.storage.errors import translated
from worker.storage.stream_versions import HIGHEST_VERSIONS
from worker.storage.work_items import OPEN, fold_type

IDS_AT_ONCE = 5_000  # a query of about 100 KB
_NO_STATE = {"state": 0}
_FULLEST = [("stats.enrollments.total", -1)]
# What becomes of learners: their records, and the payments that their enrolments name.
_COUNTED_KINDS = (LEARNER, ("transaction",))

Key = tuple[str, ObjectId]
"""A document, by its collection and `_id`."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything the collections hold of learners. `stored` are their events, `by_type` the same by type.

    `notifications` are the outbox's rows by kind and status.
    """

    stored: int
    time_series: int
    by_type: Mapping[str, int]
    streams: int
    completed_lessons: int
    notifications: Mapping[tuple[str, str], int] = field(default_factory=dict)
    billing: int = 0


async def count_totals(database: Database) -> Totals:
    """Count everything once; takes a fraction of a second for 20,000 events."""
    sums = {"streams": {"$sum": 1}, "lessons": {"$sum": "$progress.completed_lessons"}}
    types = await _count_by(database.course_events, "$event_type")
    ordered = sorted(types.items(), key=lambda each: (-each[1], each[0]))
    by_type = {name: count for name, count in ordered if name in LEARNER_TYPES.by_name}
    with translated():
        progress = await aggregate(database.user_progress, [{"$group": {"_id": None, **sums}}])
        time_series = await database.user_interactions.count_documents({})
        billing = await database.billing_transactions.count_documents({})
    added = progress[0] if progress else dict.fromkeys(sums, 0)
    return Totals(
        stored=sum(by_type.values()),
        time_series=time_series,
        by_type=by_type,
        streams=added["streams"],
        completed_lessons=added["lessons"],
        notifications=await count_notifications(database),
        billing=billing,
    )


async def count_notifications(database: Database) -> dict[tuple[str, str], int]:
    """Rows of the outbox by kind and status."""
    rows = await _count_by(database.notifications, ["$kind", "$status"])
    return {(kind, status): count for (kind, status), count in rows.items()}


async def _count_by(
    collection: Collection, expression: object, match: Mapping[str, object] | None = None
) -> dict[Any, int]:
    """Number of documents by the value of an expression, in its order; a value that is an array becomes a tuple."""
    group = {"$group": {"_id": expression, "count": {"$sum": 1}}}
    with translated():
        groups = await aggregate(collection, [{"$match": match or {}}, group, {"$sort": {"_id": 1}}])
    keys = (tuple(each["_id"]) if isinstance(each["_id"], list) else each["_id"] for each in groups)
    return {key: each["count"] for key, each in zip(keys, groups, strict=True)}


@dataclass(frozen=True, slots=True)
class Sums:
    """Events in the store, and of them those folded into documents and those counted into statistics."""

    stored: int
    projected: int
    counted: int


async def poll_sums(database: Database, *, exact: bool, other_events: int = 0) -> Sums:
    """Where learners and their payments stand; costs milliseconds, more if `exact` and many.

    Where it is not `exact`, so many `other_events` (`count_other_events`) are left out.
    """
    if exact:
        stored = sum(version for stream, version in (await _highest(database)).items() if _is_counted(stream))
    else:
        with translated():
            stored = max(0, await database.course_events.estimated_document_count() - other_events)
    billed = await _sum(database.billing_transactions, "$version")
    return Sums(
        stored,
        billed + await _sum(database.user_progress, "$version"),
        billed + await _sum(database.user_progress_projections, "$last_event_version"),
    )


async def count_other_events(database: Database) -> int:
    """Events that are neither of learners nor of payments."""
    highest = await _highest(database)
    return sum(version for stream, version in highest.items() if not _is_counted(stream))


def _is_counted(stream: str) -> bool:
    return kind_to_fold(stream) in _COUNTED_KINDS


async def _highest(database: Database) -> dict[str, int]:
    """The number of events of every stream: versions are dense."""
    with translated():
        found = await aggregate(database.course_events, [*HIGHEST_VERSIONS])
    return {stream["_id"]: stream["version"] for stream in found}


async def _sum(collection: Collection, path: str) -> int:
    with translated():
        found = await aggregate(collection, [{"$group": {"_id": None, "sum": {"$sum": path}}}])
    return int(found[0]["sum"]) if found else 0


async def uncounted(database: Database) -> list[ObjectId]:
    """Learners in courses and payments of which another revision, or none, has been counted into sums."""
    sources = {each.name: each for each in database.catalogue.streams}
    folded = {"stream_id": {"$exists": True}}  # the platform's own are nobody's to count
    waiting: list[ObjectId] = []
    for projection in database.catalogue.sums:
        records = database.collection(sources[projection.source].target.collection)
        counts = database.collection(projection.counted.collection)
        with translated():
            revisions = await records.find(folded, {"rev": 1}).to_list(None)
            counted = {
                row["_id"]: row["source_rev"]
                for row in await counts.find({}, {"source_rev": 1}).to_list(None)
            }
        waiting += [each["_id"] for each in revisions if counted.get(each["_id"]) != each["rev"]]
    return waiting


async def streams_behind(database: Database, expected: Some[Key] = frozenset()) -> list[str]:
    """Streams of which a document does not stand at their highest version, or is missing, by name.

    Of what begins with a certain event only, a document is missing if it is `expected`.
    """
    highest = await _highest(database)
    behind: set[str] = set()
    for projection in database.catalogue.streams:
        with translated():
            documents = (
                await database.collection(projection.target.collection).find({}, {"version": 1}).to_list(None)
            )
        current = {each["_id"]: each.get("version") for each in documents}
        for stream, version in highest.items():
            if projection.folds(stream) and not _stands(projection, stream, version, current, expected):
                behind.add(stream)
    return sorted(behind)


def _stands(
    projection: StreamProjection,
    stream: str,
    version: int,
    current: Mapping[ObjectId, int | None],
    expected: Some[Key],
) -> bool:
    identity = stream_object_id(stream)
    if identity in current:
        return current[identity] in (None, version)  # one without a version is the platform's own
    begins_with_any = projection.begun is None or projection.about in _COUNTED_KINDS
    return not begins_with_any and (projection.target.collection, identity) not in expected


async def first_quarantined(database: Database) -> str | None:
    """Why the longest waiting stream is in quarantine; None when no stream is."""
    types = [fold_type(projection.name) for projection in database.catalogue.streams]
    query = {"event_type": {"$in": types}, "status": {"$in": OPEN}}
    with translated():
        item = await database.analytics_queue.find_one(query, sort=[("created_at", 1)])
    return (
        None if item is None else f"{item['last_error']} at version {item['version']} of {item['stream_id']}"
    )


async def count_known(database: Database, event_ids: Sequence[object]) -> int:
    """How many of these event ids the store has already."""
    known = 0
    with translated():
        for some in chunks(event_ids, IDS_AT_ONCE):
            known += await database.course_events.count_documents({"_id": {"$in": some}})
    return known


async def dead_letter_reasons(database: Database, topic: str, starts: Mapping[int, int]) -> dict[str, int]:
    """Dead letters by reason of the records at or after `starts` (partition to offset)."""
    since = [{"partition": number, "offset": {"$gte": offset}} for number, offset in starts.items()]
    match = {"kind": "record", "topic": topic, "$or": since}
    reasons = await _count_by(database.dead_letters, "$reason", match)
    return {str(RejectReason(reason)): count for reason, count in reasons.items()}


async def progress_documents(
    database: Database, streams: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Document]:
    """Progress documents of (user id, course id) pairs; those without one are left out."""
    ids = {stream_object_id(stream_id(course, user)): (user, course) for user, course in streams}
    found = await documents_by(database.user_progress, "_id", ids, _NO_STATE)
    return {ids[key]: document for key, document in found.items()}


async def documents_by(
    collection: Collection, path: str, keys: Iterable[object], paths: Mapping[str, int] | None = None
) -> dict[Any, Document]:
    """The documents that have one of the keys at a path, by key."""
    found: dict[Any, Document] = {}
    with translated():
        for some in chunks(keys, IDS_AT_ONCE):
            for document in await collection.find({path: {"$in": some}}, paths).to_list(None):
                found[document[path]] = document
    return found


@dataclass(frozen=True, slots=True)
class Example:
    """One learner in one course, with all documents about both; `course` and `user` may be absent."""

    progress: Document
    course: Document | None
    user: Document | None
    notifications: Sequence[Document]
    learners: Sequence[Document]


async def example_of(database: Database) -> Example | None:
    """The busiest learner, in the fullest course that shows statistics if there is one; None without learners."""
    with translated():
        fullest = await database.courses.find({"stats.sums": {"$exists": True}}).sort(_FULLEST).to_list(1)
        within = {"course_id": fullest[0]["_id"]} if fullest else {}
        busiest = await database.user_progress.find(within, _NO_STATE).sort("version", -1).to_list(1)
        if not busiest:
            return None
        progress = busiest[0]
        course_id, user_id = progress["course_id"], progress["user_id"]
        rows = database.notifications.find({"stream_id": progress["stream_id"]})
        return Example(
            progress,
            await database.courses.find_one({"_id": course_id}),
            await database.users.find_one({"_id": user_id}),
            await rows.sort("_id", 1).to_list(None),
            await database.user_progress.find({"course_id": course_id}, _NO_STATE).to_list(None),
        )
