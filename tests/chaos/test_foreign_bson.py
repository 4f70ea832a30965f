"""A stranger writes whatever BSON allows into every shared collection, beside a running worker with all roles."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from projections.event import StoredEvent
from projections.progress import FOLDED_PATHS, fold
from tests.chaos.foreign_bson import (
    LARGE_BYTES,
    RAW,
    SHARED,
    drawn,
    foreign,
    grow,
    insert,
    large,
    replace,
    spoilt,
)
from tests.chaos.running_worker import RunningWorker, settings, working
from tests.conftest import RunningMongo
from tests.support.counts import expected_course, expected_user, visible
from tests.support.ingest import event, learner, records, send
from tests.support.odd_bson import raw_document, values
from tests.support.waiting import until
from worker.contract.identity import stream_id, stream_object_id
from worker.storage.database import Database, Document
from worker.storage.elements import elements
from worker.storage.leases import group_name
from worker.storage.shares import GROUPS
from worker.verify.run import verify

ROLES = ("ingest", "progress", "counts", "notify", "retry")
GOOD_COURSES = [ObjectId(f"c{number:023x}") for number in range(2)]
ODD_COURSES = [ObjectId(f"d{number:023x}") for number in range(2)]
GOOD = [ObjectId(learner(number)) for number in range(6)]
ODD = [ObjectId(learner(number)) for number in range(100, 130)]
TEACHER = {course: ObjectId(f"e{number:023x}") for number, course in enumerate([*GOOD_COURSES, *ODD_COURSES])}
MADE = datetime(2026, 1, 1, tzinfo=UTC)
PER_LEARNER = 4
_PROGRESS = [group_name("progress", group) for group in range(GROUPS)]
LONG = 150
SPOILT = (
    "users",
    "courses",
    "user_progress",
    "user_progress_projections",
    "notifications",
    "billing_transactions",
)


async def add_platform(database: Database) -> None:
    for number, (course, teacher) in enumerate(TEACHER.items()):
        fields = {
            "title": f"Course {number}",
            "status": "published",
            "created_at": MADE,
            "slug": f"c-{number}",
        }
        await database.courses.insert_one({"_id": course, "instructor_id": teacher, **fields})
    for user in [*GOOD, *ODD, *TEACHER.values()]:
        name = {"email": f"{user}@example.org", "username": str(user)}
        log = [{"action": "login", "timestamp": MADE}]
        await database.users.insert_one({"_id": user, **name, "activity_log": log})


def scenario(user: ObjectId, course: ObjectId, part: int) -> Iterator[dict[str, Any]]:
    """One half of what a learner does in a course: enrols and pays, or finishes."""
    fields: dict[str, Any] = {"user_id": str(user), "course_id": str(course), "value": None}
    if part:
        lesson = {**fields, "event_type": "complete", "details": {}}
        return (_event(lesson, lesson_id=str(ObjectId(f"f{number:023x}"))) for number in range(2))
    payment = {"transaction_id": f"t-{user}-{course}", "amount": "9.90", "currency": "EUR", "method": "card"}
    details = {"total_lessons": 2, "payment": payment}
    return iter(
        [
            _event({**fields, "event_type": "course_enrolled", "lesson_id": None, "details": details}),
            event_of(fields),
        ]
    )


def event_of(fields: dict[str, Any]) -> dict[str, Any]:
    return _event({**fields, "event_type": "course_rated", "lesson_id": None, "value": 4, "details": {}})


def _event(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {**event(0), **fields, **more}
    return {name: value for name, value in made.items() if value is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [pytest.param(25, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)]
)
async def test_random_bson_in_every_shared_collection_costs_nobody_else_anything(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path, size: int
) -> None:
    await add_platform(database)
    environment = {
        **settings(mongodb.uri, database, kafka, topic),
        "SEVENP_RETRY_BACKOFF_S": "0.2",
    }
    async with working(environment, tmp_path / "worker.log") as worker:
        await send(kafka, topic, records([*_scenarios(0)]))
        await worker.until_processed(PER_LEARNER // 2 * _streams())
        await until(lambda: _counted(database, 1), "the first half is counted")
        await _spoil(database, size)
        for collection in SHARED:
            await insert(database, collection, drawn(foreign(collection), size, size))
        if size >= LONG:
            await _enlarge(database)
        await send(kafka, topic, records([*_scenarios(1)]))
        await worker.until_processed(PER_LEARNER * _streams())
        await until(lambda: _counted(database, 2), "everything good is counted")
        await _assert_alive(worker)
        for at_rest in (True,) if size < LONG else (False, True):  # the first looks twice, after ten seconds
            found = await verify(database, quiescent=at_rest)
            assert not found.ok
        await _assert_alive(worker)
    # Nothing is known of what happened: everything is compared, whatever stands there.
    await database.projection_state.delete_many({"_id": {"$in": ["counts:00", *_PROGRESS]}})
    async with working(environment, tmp_path / "again.log") as worker:
        await until(lambda: _compared(database), "everything is compared")
        assert await _counted(database, 2)
        await _assert_alive(worker)


async def _compared(database: Database) -> bool:
    saved = {"_id": {"$in": ["counts:00", *_PROGRESS]}, "versions": {"$gt": {}}}
    return await database.projection_state.count_documents(saved) == 1 + len(_PROGRESS)


def _streams() -> int:
    return len(GOOD) * len(GOOD_COURSES) + len(ODD) * len(ODD_COURSES)


def _scenarios(part: int) -> Iterator[dict[str, Any]]:
    for users, courses in ((GOOD, GOOD_COURSES), (ODD, ODD_COURSES)):
        for user in users:
            for course in courses:
                yield from scenario(user, course, part)


async def _spoil(database: Database, size: int) -> None:
    """Make the documents of odd learners and courses odd, one value in each."""
    source = random.Random(size)  # noqa: S311  # the same documents each time
    odd = [
        (each.kind, each.value)
        for raw in drawn(values().map(lambda value: raw_document((value[0], b"v", value[1]))), 100, size)
        for each in elements(raw)
    ]
    for collection in SPOILT:
        raw_collection = database.collection(collection).with_options(codec_options=RAW)
        theirs = {"$or": [{"_id": {"$in": [*ODD, *ODD_COURSES]}}, {"user_id": {"$in": ODD}}]}
        for document in await raw_collection.find(theirs).limit(size).to_list(None):
            assert isinstance(document, RawBSONDocument)
            await replace(database, collection, document["_id"], spoilt(bytes(document.raw), odd, source))


async def _enlarge(database: Database) -> None:
    for collection, field in (("users", "bio"), ("courses", "description"), ("users", "activity_log")):
        await insert(database, collection, [large(ObjectId(), field)])
    for user in ODD[:2]:
        await grow(database, "users", user, LARGE_BYTES - 60_000)


async def _counted(database: Database, notifications: int) -> bool:
    """Everything about good learners and courses is as their events say."""
    records_of: dict[ObjectId, list[Document]] = {course: [] for course in GOOD_COURSES}
    for user in GOOD:
        for course in GOOD_COURSES:
            record = await _exact_record(database, user, course)
            if record is None:
                return False
            records_of[course].append(record)
    own = [record for some in records_of.values() for record in some]
    for course, some in records_of.items():
        document = await database.courses.find_one({"_id": course}) or {}
        if visible(document.get("stats", {})) != expected_course(some):
            return False
    for user in GOOD:
        document = await database.users.find_one({"_id": user}) or {}
        mine = [record for record in own if record["user_id"] == user]
        if visible(document.get("stats", {})) != expected_user(mine, [], teaches=False):
            return False
        if [entry["action"] for entry in document["activity_log"]].count("course_enrollment") != len(mine):
            return False
    return await _rows(database, notifications)


async def _exact_record(database: Database, user: ObjectId, course: ObjectId) -> Document | None:
    stream = stream_id(str(course), str(user))
    stored = await database.course_events.find({"stream_id": stream}).sort("version", 1).to_list(None)
    record = await database.user_progress.find_one({"_id": stream_object_id(stream)})
    if record is None or not stored:
        return None
    wanted = fold(None, [StoredEvent.from_document(each) for each in stored], "live")
    return (
        record if all(record.get(path) == wanted[path] for path in FOLDED_PATHS if path in wanted) else None
    )


async def _rows(database: Database, notifications: int) -> bool:
    """Each milestone of a good learner went out, and each payment has its row."""
    theirs = {"user_id": {"$in": GOOD}, "course_id": {"$in": GOOD_COURSES}}
    streams = len(GOOD) * len(GOOD_COURSES)
    sent = await database.notifications.count_documents({**theirs, "status": "sent"})
    billed = await database.billing_transactions.count_documents(theirs)
    return sent == notifications * streams and billed == streams


async def _assert_alive(worker: RunningWorker) -> None:
    worker.process.require_alive()
    assert (await worker.get("livez"))[0] == 200
    for role in ROLES:
        assert await worker.sum("component_up", f'component="{role}"') == 1, role
