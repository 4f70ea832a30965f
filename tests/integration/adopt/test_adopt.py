"""A platform's own records, made by the spec's statements, become the worker's: shown, adopted, and live then."""

import contextlib
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId
from bson import encode as bson_encode
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError

from tests.oracle.check import check
from tests.oracle.progress import document_differences
from tests.support.jobs import runner
from tests.support.platform import Platform, day, enrolled, full_record
from tests.support.progress import fold_dependencies, owned
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_id, stream_object_id
from worker.contract.source import Source
from worker.errors import SchemaMismatch
from worker.jobs.adopt import ADOPT, AdoptArguments
from worker.jobs.runner import Result
from worker.queries.explain import explain
from worker.storage.database import Database, Document
from worker.storage.documents import event_document, interaction_row
from worker.storage.schema import apply_schema, check_schema
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.watch.folds.projector import Projector
from worker.watch.folds.refold import Refold

_OFFSETS = itertools.count()


async def adopt(database: Database, *, dry_run: bool = False, **arguments: Any) -> Result:
    return await runner(database).run(ADOPT, AdoptArguments(**arguments), dry_run=dry_run)


async def store_event(
    database: Database, user: ObjectId, course: ObjectId, at: datetime, event_type: str, **fields: Any
) -> int:
    """Store an event under the next version of its stream, with its row, as ingest does; returns the version."""
    stream = stream_id(course, user)
    identity = str(ObjectId())
    sent = {
        "event_id": f"{identity[:8]}-{identity[8:12]}-4000-8000-{identity[12:]}",
        "event_type": event_type,
        "occurred_at": at.isoformat(),
        "user_id": str(user),
        "course_id": str(course),
        **fields,
    }
    event = decode_event(encode(sent), timestamp=at)
    assert isinstance(event, Event), event
    while True:
        version = await database.course_events.count_documents({"stream_id": stream}) + 1
        source = Source("interaction-events", 0, next(_OFFSETS))
        document = event_document(event, version, source, SystemClock().now(), None)
        with contextlib.suppress(DuplicateKeyError):
            await database.course_events.insert_one(document)
            await database.user_interactions.insert_one(interaction_row(document))
            return version


async def happen(
    database: Database, user: ObjectId, course: ObjectId, at: datetime, event_type: str, **fields: Any
) -> None:
    """The same, folded as live."""
    version = await store_event(database, user, course, at, event_type, **fields)
    projector = Projector(fold_dependencies(database))
    await projector.project({stream_id(course, user): version})


async def findings(database: Database) -> list[str]:
    found = await verify(database, quiescent=True)
    return [f"{each.name} {each.subject} {each.detail}" for each in found.findings]


# Versions, rows, records, statistics, outbox and billing, and what is in quarantine: those that need no ledger.
STORED = (3, 4, 5, 6, 7)


def oracle(platform: Platform) -> list[str]:
    """What the second implementation says of everything that is stored."""
    prefix = platform.db.name.removesuffix("_content")
    return [each.sentence for each in check(platform.uri, prefix, [], invariants=STORED)]


async def record(database: Database, user: ObjectId, course: ObjectId) -> Document:
    found = await database.user_progress.find_one({"_id": stream_object_id(stream_id(course, user))})
    assert found is not None
    return found


async def events_of(database: Database, user: ObjectId, course: ObjectId) -> Sequence[Document]:
    query = {"stream_id": stream_id(course, user)}
    return await database.course_events.find(query).sort("version", 1).to_list(None)


async def test_records_made_by_the_spec_s_statements_are_adopted_as_they_are(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course(), platform.add_user()
    beginner = platform.add_user()
    platform.enrol(beginner["_id"], course["_id"], day(2))
    old = platform.enrol(user["_id"], course["_id"], day(1))
    platform.update_progress(user["_id"], course["_id"], 65.5, day(3))
    full = platform.add_course(lessons=5)
    lessons = [each["_id"] for each in full["curriculum"][0]["lessons"]]
    kept = full_record(user["_id"], full["_id"], lessons)
    platform.insert(kept)
    before = platform.db.user_progress.find_one({"_id": old})
    assert before is not None

    shown = await adopt(adopted, dry_run=True)
    assert (shown.run.counts["adopted"], shown.outcome["set_aside"]) == (3, {})
    assert platform.db.user_progress.count_documents({"stream_id": {"$exists": True}}) == 0
    assert platform.db.course_events.count_documents({}) == 0

    await apply_schema(adopted)
    done = await adopt(adopted)
    assert (done.run.counts["adopted"], done.run.counts["changed"], done.outcome["set_aside"]) == (3, 0, {})

    document = await record(adopted, user["_id"], course["_id"])
    assert document["progress"]["percentage"] == 65.5
    assert document["progress"]["total_lessons"] == 4  # its course's
    assert document["time_tracking"]["total_seconds"] == 60
    assert document["updated_at"] == day(3)
    assert document["enrollment_date"] == document["created_at"] == day(1)
    assert document["payment_data"] == {**before["payment_data"], "amount": "199.99"}
    assert platform.db.user_progress.find_one({"_id": old}) is None
    [event] = await events_of(adopted, user["_id"], course["_id"])
    assert event["personal"]["originals"]["record"] == bson_encode(before)
    document = await record(adopted, user["_id"], full["_id"])
    for name in (
        "performance",
        "social",
        "certificates",
        "achievements",
        "learning_analytics",
        "last_accessed",
    ):
        assert document[name] == kept[name], name
    assert {**document["progress"], **kept["progress"]} == document["progress"]
    assert document["lesson_progress"][0]["notes"] == kept["lesson_progress"][0]["notes"]
    assert await findings(adopted) == []

    again = await adopt(adopted)
    assert (again.run.counts.get("adopted", 0), again.outcome["matched"], again.outcome["records"]) == (
        0,
        3,
        0,
    )
    assert await adopted.course_events.count_documents({}) == 3


async def test_a_run_that_a_former_release_has_begun_goes_on(platform: Platform, adopted: Database) -> None:
    platform.insert(enrolled(platform.add_user()["_id"], platform.add_course()["_id"]))
    await adopt(adopted)
    stopped = {"status": "stopped", "checkpoint.phase": "records", "checkpoint.session": uuid4()}
    await adopted.job_runs.update_one({}, {"$set": stopped})
    again = await adopt(adopted)
    assert (again.run.status, again.run.attempts) == ("succeeded", 2)


async def test_after_adoption_live_events_come_on_top_and_a_rebuild_gives_the_same(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course(), platform.add_user()
    lessons = [each["_id"] for each in course["curriculum"][0]["lessons"]]
    platform.insert(full_record(user["_id"], course["_id"], lessons))
    await apply_schema(adopted)
    await adopt(adopted)
    who = (adopted, user["_id"], course["_id"])
    now = SystemClock().now()
    await happen(*who, now, "complete", lesson_id=str(lessons[1]))
    await happen(
        *who, now, "view", lesson_id=str(lessons[2]), value=1, details={"time_spent": 30, "progress": 0.5}
    )
    await happen(*who, now, "discussion_posted")
    document = await record(*who)
    assert document["progress"]["completed_lessons"] == 2
    assert document["time_tracking"]["total_seconds"] == 25230
    assert document["social"]["discussion_posts"] == 13
    assert document["achievements"]
    assert list(document_differences(document, await events_of(*who))) == []
    told = await explain(adopted, document["stream_id"], "progress.completed_lessons")
    assert [(each.event_type, each.value) for each in told.changes] == [("opening", 1), ("complete", 2)]

    await adopt(adopted)  # counts what has moved
    assert await findings(adopted) == []
    refold = Refold(fold_dependencies(adopted))
    await adopted.user_progress.update_one(
        {"_id": document["_id"]}, {"$set": {"status": "dropped", "progress.percentage": 1.0}}
    )
    await refold([], doubted=[document["stream_id"]])
    assert owned(await record(*who)) == owned(document)
    await adopted.user_progress.delete_one({"_id": document["_id"]})
    await refold([document["stream_id"]])
    assert owned(await record(*who)) == owned(document)


async def test_nobody_is_told_again_what_the_platform_told_and_what_follows_is_told_once(
    platform: Platform, adopted: Database
) -> None:
    course = platform.add_course(lessons=1)
    [lesson] = [each["_id"] for each in course["curriculum"][0]["lessons"]]
    told, untold, later = (platform.add_user()["_id"] for _ in range(3))
    for user in (told, untold, later):
        platform.enrol(user, course["_id"], day(1))
    for user in (told, untold):
        platform.update_progress(user, course["_id"], 100, day(2))
    platform.notify_completed(told, course["_id"])
    await apply_schema(adopted)
    done = await adopt(adopted)
    assert done.run.counts["completed_unannounced"] == 1
    now = SystemClock().now()
    await happen(adopted, later, course["_id"], now, "complete", lesson_id=str(lesson))
    await adopt(adopted)
    rows = {row["_id"]: row["status"] for row in await adopted.notifications.find({}).to_list(None)}
    silent = {
        f"{kind}:{stream_id(course['_id'], user)}"
        for kind in ("welcome", "completion")
        for user in (told, untold)
    }
    silent.add(f"welcome:{stream_id(course['_id'], later)}")
    assert {key for key, status in rows.items() if status == "suppressed"} == silent
    assert {key for key, status in rows.items() if status == "pending"} == {
        f"completion:{stream_id(course['_id'], later)}"
    }
    assert await findings(adopted) == []
    assert oracle(platform) == []


async def test_statistics_say_what_the_records_say_and_what_stood_there_is_kept(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course(), platform.add_user()
    for each in (user, platform.add_user(), platform.add_user()):
        platform.enrol(each["_id"], course["_id"], day(1))
    platform.db.courses.update_one({"_id": course["_id"]}, {"$inc": {"stats.enrollments.total": 2_497}})
    before = platform.db.courses.find_one({"_id": course["_id"]})
    assert before is not None
    shown = await adopt(adopted, dry_run=True)
    assert shown.outcome["enrolments"]["courses"] == {
        "differ": 1,
        "samples": [{"id": str(course["_id"]), "shown": 2_500, "records": 3}],
    }
    assert shown.outcome["enrolments"]["users"]["differ"] == 0
    await apply_schema(adopted)
    await adopt(adopted)
    stored = await adopted.courses.find_one({"_id": course["_id"]})
    assert stored is not None
    assert stored["stats"]["enrollments"] == {"total": 3, "active": 3, "completed": 0}
    kept = stored["stats"]["before_adoption"]
    assert {name: kept[name] for name in ("enrollments", "ratings", "engagement")} == before["stats"]
    person = await adopted.users.find_one({"_id": user["_id"]})
    assert person is not None
    assert (person["stats"]["courses_enrolled"], person["stats"]["courses_created"]) == (1, 12)
    assert person["stats"]["before_adoption"]["courses_enrolled"] == 1
    assert person["activity_log"] == [
        {"action": "course_enrollment", "course_id": course["_id"], "timestamp": day(1)}
    ]
    assert await adopted.billing_transactions.count_documents({}) == 3
    assert await findings(adopted) == []
    await adopt(adopted)
    stored = await adopted.courses.find_one({"_id": course["_id"]})
    assert stored is not None
    assert stored["stats"]["before_adoption"] == kept
    assert oracle(platform) == []


@pytest.mark.slow
async def test_a_learner_whose_events_came_first_needs_to_be_told_which_the_record_has(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course(), platform.add_user()
    lessons = [each["_id"] for each in course["curriculum"][0]["lessons"]]
    platform.insert(full_record(user["_id"], course["_id"], lessons))
    await apply_schema(adopted)
    who = (adopted, user["_id"], course["_id"])
    now = SystemClock().now()
    until = now - timedelta(days=1)
    await happen(*who, day(9), "complete", lesson_id=str(lessons[0]))
    await happen(*who, now, "complete", lesson_id=str(lessons[2]))
    await happen(*who, now, "lesson_note_saved", lesson_id=str(lessons[2]), details={"text": "mine"})
    # The worker could not make its document beside the platform's: the stream waits.
    item = f"progress:{stream_id(course['_id'], user['_id'])}"
    assert (await adopted.analytics_queue.find_one({"_id": item}))["status"] == "pending"  # type: ignore[index]

    unsaid = await adopt(adopted)
    assert unsaid.outcome["set_aside"] == {"events_stored": 1}
    done = await adopt(adopted, counted_until=until)
    assert (done.run.counts["adopted"], done.outcome["set_aside"]) == (1, {})
    document = await record(*who)
    assert document["progress"]["completed_lessons"] == 2
    assert document["version"] == 4
    assert [each["notes"] for each in document["lesson_progress"] if each["lesson_id"] == lessons[2]] == [
        "mine"
    ]
    assert (await adopted.analytics_queue.find_one({"_id": item}))["status"] == "completed"  # type: ignore[index]
    # What comes late and is in the record counts for nothing.
    await happen(*who, day(10), "discussion_posted")
    await happen(*who, now, "discussion_posted")
    assert (await record(*who))["social"]["discussion_posts"] == 13
    assert list(document_differences(await record(*who), await events_of(*who))) == []
    await adopt(adopted)
    assert await findings(adopted) == []
    assert oracle(platform) == []


@pytest.mark.parametrize("furthest", [False, True])
async def test_of_several_records_of_a_learner_all_are_set_aside_or_the_furthest_is_adopted(
    platform: Platform, adopted: Database, furthest: bool
) -> None:
    course, user = platform.add_course(), platform.add_user()
    platform.enrol(user["_id"], course["_id"], day(1))
    platform.update_progress(user["_id"], course["_id"], 42, day(3))
    platform.enrol(user["_id"], course["_id"], day(2))
    for collection in ("course_events", "user_progress_projections", "notifications"):
        assert collection not in platform.db.list_collection_names()
    with pytest.raises(SchemaMismatch, match="user_progress: stored documents break the unique index"):
        await apply_schema(adopted)
    assert {each.collection for each in await check_schema(adopted)} == {"user_progress"}
    done = await adopt(adopted, duplicates="furthest" if furthest else "set-aside")
    assert done.outcome["learners_with_several"] == 1
    if not furthest:
        assert done.outcome["set_aside"] == {"duplicate": 2}
        assert platform.db.user_progress.count_documents({}) == 2
        return
    assert (done.run.counts["adopted"], done.run.counts["merged"]) == (1, 1)
    assert (await record(adopted, user["_id"], course["_id"]))["progress"]["percentage"] == 42
    [event] = await events_of(adopted, user["_id"], course["_id"])
    assert set(event["personal"]["originals"]) == {"record", "duplicate_1"}
    await apply_schema(adopted)
    assert await findings(adopted) == []


async def test_who_went_back_to_its_own_records_can_adopt_them_again(
    platform: Platform, adopted: Database
) -> None:
    course, user = platform.add_course(), platform.add_user()
    lessons = [each["_id"] for each in course["curriculum"][0]["lessons"]]
    platform.insert(full_record(user["_id"], course["_id"], lessons))
    await apply_schema(adopted)
    await adopt(adopted)
    who = (adopted, user["_id"], course["_id"])
    await happen(*who, SystemClock().now(), "complete", lesson_id=str(lessons[2]))
    # Back: the record as it was, without the worker's validator; the platform goes on by itself.
    [opening, _] = await events_of(*who)
    platform.db.user_progress.drop()
    platform.db.user_progress_projections.drop()
    platform.db.user_progress.insert_one(RawBSONDocument(opening["personal"]["originals"]["record"]))
    now = SystemClock().now()
    platform.update_progress(user["_id"], course["_id"], 80, now)

    await apply_schema(adopted)
    done = await adopt(adopted, counted_until=now)
    assert (done.run.counts["adopted"], done.outcome["set_aside"]) == (1, {})
    document = await record(*who)
    assert (document["version"], document["progress"]["percentage"]) == (3, 80.0)
    assert (
        document["progress"]["completed_lessons"] == 1
    )  # as the platform has it: it was the one that counted
    assert list(document_differences(document, await events_of(*who))) == []
    assert await findings(adopted) == []
