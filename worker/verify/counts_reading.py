"""What one snapshot shows of learners, courses and people: the reads of a check on what was counted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.counts import LEARNING, NAMES, Counted, Payment, payment_in
from projections.counts.learner import RECORD_PATHS
from projections.counts.projection import COUNTS
from projections.counts.statistics import instructor_of
from projections.event import StoredEvent
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.outbox import notification_id
from worker.storage.skipped_versions import NO_SKIPS, skips_of
from worker.storage.work_items import COUNTS_ROW
from worker.verify.findings import Finding
from worker.verify.learner_audit import MILESTONES, Announced, Learner, audit_rows
from worker.verify.queue_check import open_items
from worker.verify.reading import hashable, pages
from worker.verify.shapes import misfits
from worker.verify.snapshots import Snapshot
from worker.verify.statistics_audit import Person

_RECORD = dict.fromkeys(RECORD_PATHS, 1)
# Ranges of versions in one query, as in counting.
_RANGES_PER_QUERY = 100
_ENROLMENT = {"event_type": "course_enrolled"}
_COURSE = dict.fromkeys(("instructor_id", "instructor.user_id", "stats", "created_at", "updated_at"), 1)
_USER = dict.fromkeys(("stats", "activity_log", "created_at", "updated_at"), 1)
_COUNTED_OF_USER = dict.fromkeys(("user_id", "course_id", "enrolled_at", "counted"), 1)
# What a row of the outbox is compared with.
_COUNTED = dict.fromkeys(("stream_id", "user_id", "course_id", "emitted"), 1)
_ANNOUNCED = dict.fromkeys(("milestones", "projection_version", "version"), 1)


async def learners(snapshot: Snapshot, ids: Sequence[Any]) -> list[Learner]:
    """The learners with these records."""
    records = await snapshot.by_id(snapshot.database.user_progress, ids, _RECORD)
    projections = await snapshot.by_id(snapshot.database.user_progress_projections, records, None)
    counted = [each for each in projections.values() if not misfits("user_progress_projections", each)]
    announced = [notification_id(kind, each["stream_id"]) for each in counted for kind in MILESTONES]
    rows = await snapshot.by_id(snapshot.database.notifications, announced, {"_id": 1})
    payments = await _payments(snapshot, counted)
    paid = {payment.transaction_id for some in payments.values() for payment in some}
    billing = await snapshot.by_id(snapshot.database.billing_transactions, paid, None, key="transaction_id")
    streams = {identity: str(record.get("stream_id")) for identity, record in records.items()}
    wrong: dict[Any, list[tuple[str, Finding]]] = defaultdict(list)
    for each in counted:
        stream = streams[each["_id"]]
        wrong[each["_id"]] += audit_rows(stream, each, rows.keys(), payments[stream], billing)
    items = [item for some in wrong.values() for item, _ in some]
    excused = await open_items(snapshot.database, COUNTS_ROW, items, snapshot.session)
    return [
        Learner(record, projections.get(key), rows=[each for item, each in wrong[key] if item not in excused])
        for key, record in records.items()
    ]


async def notifications(snapshot: Snapshot, ids: Sequence[Any]) -> list[Announced]:
    """The outbox rows, each with its learner's projection and record."""
    rows = list((await snapshot.by_id(snapshot.database.notifications, ids, None)).values())
    keys = [stream_object_id(str(row.get("stream_id"))) for row in rows]
    known = await snapshot.by_id(snapshot.database.user_progress_projections, set(keys), _COUNTED)
    records = await snapshot.by_id(snapshot.database.user_progress, set(keys), _ANNOUNCED)
    return [Announced(row, known.get(key), records.get(key)) for row, key in zip(rows, keys, strict=True)]


async def billing(snapshot: Snapshot, ids: Sequence[Any]) -> list[tuple[Document, Document | None]]:
    """The billing rows, each with the event it names."""
    rows = list((await snapshot.by_id(snapshot.database.billing_transactions, ids, None)).values())
    named = [row["event_id"] for row in rows if isinstance(row.get("event_id"), UUID)]
    events = await snapshot.by_id(snapshot.database.course_events, named, None)
    return [(row, events.get(hashable(row.get("event_id")))) for row in rows]


async def courses(snapshot: Snapshot, ids: Iterable[Any]) -> list[tuple[Document, Counted]]:
    """Those of the courses that have a document, each with the sum over its projections."""
    documents = await snapshot.by_id(snapshot.database.courses, ids, _COURSE)
    group = {"_id": "$course_id", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
    pipeline: list[Document] = [{"$match": {"course_id": {"$in": list(documents)}}}, {"$group": group}]
    projections = snapshot.database.user_progress_projections
    rows = await reading.aggregate(projections, pipeline, session=snapshot.session)
    sums = {hashable(row["_id"]): _counted(row) for row in rows.documents}
    return [(document, sums.get(course, Counted())) for course, document in documents.items()]


async def users(
    snapshot: Snapshot, ids: Sequence[Any], taught: Mapping[ObjectId, Iterable[Any]]
) -> list[Person]:
    """Those of the users that have a document; `taught` says which courses may name them as instructor."""
    documents = await snapshot.by_id(snapshot.database.users, ids, _USER, kept=("activity_log",))
    learned: dict[ObjectId, Counted] = defaultdict(Counted)
    enrolled: dict[ObjectId, dict[ObjectId, datetime]] = defaultdict(dict)
    wanted = {"user_id": {"$in": list(documents)}}
    counted = snapshot.database.user_progress_projections
    async for page in pages(counted, wanted, _COUNTED_OF_USER, session=snapshot.session):
        for row in page.documents:
            learned[row["user_id"]] += _counted(row.get("counted"))
            course, enrolled_at = row.get("course_id"), row.get("enrolled_at")
            if isinstance(course, ObjectId) and isinstance(enrolled_at, datetime):
                enrolled[row["user_id"]][course] = enrolled_at
    teaching = await _teaching(snapshot, {course for user in documents for course in taught.get(user, ())})
    return [
        Person(document, learned[user].only(LEARNING), enrolled[user], teaching.get(user, Counted()))
        for user, document in documents.items()
    ]


async def _teaching(snapshot: Snapshot, ids: Iterable[Any]) -> dict[ObjectId, Counted | None]:
    """Sums by instructor; None for one of whose courses some are counted and show no statistics yet."""
    sums: dict[ObjectId, Counted | None] = {}
    for document, counted in await courses(snapshot, ids):
        instructor, stats = instructor_of(document), document.get("stats")
        if instructor is None:
            continue
        so_far, shown = sums.get(instructor, Counted()), isinstance(stats, Mapping) and "sums" in stats
        known = so_far is not None and (shown or not counted)
        sums[instructor] = so_far + counted if so_far is not None and known else None
    return sums


async def _payments(snapshot: Snapshot, projections: Iterable[Document]) -> dict[str, list[Payment]]:
    """By stream, the payments its events name up to the version that was counted, but for those that are skipped."""
    named: dict[str, list[Payment]] = defaultdict(list)
    ranges = [
        {"stream_id": each["stream_id"], "version": {"$lte": each["last_event_version"]}, **_ENROLMENT}
        for each in projections
        if each.get("payments")
    ]
    session, streams = snapshot.session, [each["stream_id"] for each in ranges]
    skips = await skips_of(snapshot.database, COUNTS.source, streams, session) if streams else NO_SKIPS
    for some in chunks(ranges, _RANGES_PER_QUERY):
        query = skips.without_them({"$or": some})
        async for page in pages(snapshot.database.course_events, query, session=session):
            # An event that makes no sense has a finding of its own.
            for stream, payment in page.through(_paid).values:
                named[stream] += [payment] if payment else []
    return named


def _paid(event: Document) -> tuple[str, Payment | None]:
    return event["stream_id"], payment_in(StoredEvent.from_document(event))


def _counted(stored: object) -> Counted:
    """A projection's vector as far as it is one; another has a finding of its own."""
    known = stored if isinstance(stored, Mapping) else {}
    return Counted(**{name: known[name] for name in NAMES if isinstance(known.get(name), int)})
