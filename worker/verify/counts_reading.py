"""What one snapshot shows of learners, courses and people: the reads of a check on what was counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.counts import LEARNING, NAMES, TEACHING, Counted, Taught, Teaching
from projections.counts.learner import RECORD_PATHS
from projections.counts.statistics import instructor_of
from projections.counts.teaching import INSTRUCTORS_COLLECTION, REVENUE, REVENUE_COLLECTION, teaching_in
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.outbox import notification_id
from worker.storage.work_items import COUNTS_ROW
from worker.verify.findings import Finding
from worker.verify.learner_audit import MILESTONES, Announced, Learner, audit_rows
from worker.verify.queue_check import open_items
from worker.verify.reading import hashable, pages
from worker.verify.shapes import misfits
from worker.verify.snapshots import Snapshot
from worker.verify.statistics_audit import Person

_RECORD = dict.fromkeys(RECORD_PATHS, 1)
_COURSE = dict.fromkeys(
    (
        "instructor_id",
        "instructor.user_id",
        "instructor.social_proof",
        "stats",
        "created_at",
        "updated_at",
        "deleted_at",
    ),
    1,
)
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
    streams = {identity: str(record.get("stream_id")) for identity, record in records.items()}
    wrong: dict[Any, list[tuple[str, Finding]]] = defaultdict(list)
    for each in counted:
        stream = streams[each["_id"]]
        wrong[each["_id"]] += audit_rows(stream, each, rows.keys())
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
    teaching = await teachings(snapshot, {user: taught.get(user, ()) for user in documents})
    return [
        Person(document, learned[user].only(LEARNING), enrolled[user], teaching[user])
        for user, document in documents.items()
    ]


async def instructors(
    snapshot: Snapshot, ids: Sequence[Any], taught: Mapping[ObjectId, Iterable[Any]]
) -> list[tuple[Document, Teaching | None]]:
    """What is kept of these instructors, each with what their courses add up to."""
    kept = await snapshot.by_id(snapshot.database.collection(INSTRUCTORS_COLLECTION), ids, None)
    teaching = await teachings(snapshot, {each: taught.get(each, ()) for each in kept})
    return [(document, teaching[each]) for each, document in kept.items()]


async def taught_by(
    snapshot: Snapshot, found: Iterable[tuple[Document, Counted]]
) -> list[tuple[Document, Counted, Teaching | None]]:
    """These courses, each with what is kept of its instructor."""
    named = [(document, counted, instructor_of(document)) for document, counted in found]
    ids = {instructor for *_, instructor in named if instructor is not None}
    kept = await snapshot.by_id(snapshot.database.collection(INSTRUCTORS_COLLECTION), ids, None)
    return [(document, counted, teaching_in(kept.get(each))) for document, counted, each in named]


async def teachings(snapshot: Snapshot, taught: Mapping[Any, Iterable[Any]]) -> dict[Any, Teaching | None]:
    """What the courses of each instructor add up to; None where some are counted and show no statistics yet.

    `taught` says which courses may name them.
    """
    own: dict[ObjectId, list[Any]] = defaultdict(list)
    sums: dict[Any, Counted] = defaultdict(Counted)
    created: Counter[Any] = Counter()
    unknown: set[Any] = set()
    for document, counted in await courses(snapshot, {course for some in taught.values() for course in some}):
        instructor, stats = instructor_of(document), document.get("stats")
        if instructor is None or instructor not in taught:
            continue
        own[instructor].append(document["_id"])
        sums[instructor] += counted.only(TEACHING)
        created[instructor] += document.get("deleted_at") is None
        if counted and not (isinstance(stats, Mapping) and "sums" in stats):
            unknown.add(instructor)
    found: dict[Any, Teaching | None] = {}
    for each in taught:
        students = await _students(snapshot, own[each]) if own[each] else 0
        counted = sums[each]
        numbers = Taught(counted.enrolled, counted.rated, counted.rating, students, created[each])
        revenue = await _revenue(snapshot, own[each]) if own[each] else {}
        found[each] = None if each in unknown else Teaching(numbers, revenue)
    return found


async def _students(snapshot: Snapshot, courses: Sequence[Any]) -> int:
    """Different learners of these courses."""
    pipeline: list[Document] = [
        {"$match": {"course_id": {"$in": courses}, "counted.enrolled": {"$gte": 1}}},
        {"$group": {"_id": "$user_id"}},
        {"$group": {"_id": None, "students": {"$sum": 1}}},
    ]
    projections = snapshot.database.user_progress_projections
    rows = await reading.aggregate(projections, pipeline, session=snapshot.session)
    return sum(row["students"] for row in rows.documents)


async def _revenue(snapshot: Snapshot, courses: Sequence[Any]) -> dict[str, int]:
    """What was paid for these courses."""
    if REVENUE not in {each.name for each in snapshot.database.catalogue.sums}:
        return {}
    sums: Counter[str] = Counter()
    collection = snapshot.database.collection(REVENUE_COLLECTION)
    for row in (await snapshot.by_id(collection, courses, {"revenue": 1})).values():
        revenue = row.get("revenue")
        known = revenue if isinstance(revenue, Mapping) else {}
        sums.update({name: each for name, each in known.items() if isinstance(each, int)})
    return dict(sums)


def _counted(stored: object) -> Counted:
    """A projection's vector as far as it is one; another has a finding of its own."""
    known = stored if isinstance(stored, Mapping) else {}
    return Counted(**{name: known[name] for name in NAMES if isinstance(known.get(name), int)})
