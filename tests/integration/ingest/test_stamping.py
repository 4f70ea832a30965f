"""What ingest stamps on learners' events, from documents that anybody may have written."""

from typing import Any

import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from tests.conftest import RunningMongo
from tests.support.ingest import (
    COURSE,
    LESSON,
    event,
    learner,
    options,
    records,
    running,
    send,
    with_kafka,
)
from tests.support.odd_bson import raw_document, raw_text
from tests.support.seen_commands import seen_by
from worker.contract.identity import stream_id
from worker.storage.database import Database, Document
from worker.storage.lesson_lists import lesson_list_id
from worker.timing import SystemClock

LIST_WRITE, EVENT_WRITE = ("update", "lesson_lists"), ("insert", "course_events")
MODULE = ObjectId()
LESSONS: list[dict[str, Any]] = [
    {"_id": ObjectId(LESSON), "type": "video", "topic": "Closures"},
    {"_id": ObjectId(), "type": "quiz"},
]


def course(**fields: Any) -> Document:
    return {
        "_id": ObjectId(COURSE),
        "title": "Stamping",
        "instructor_id": ObjectId(),
        "status": "published",
        "created_at": SystemClock().now(),
        "publication": {"version": "2.1.0"},
        "curriculum": [{"_id": MODULE, "lessons": LESSONS}],
        **fields,
    }


async def ingested(database: Database, kafka: str, topic: str, *events: dict[str, Any]) -> list[Document]:
    await send(kafka, topic, records(events))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(len(events))
    return await database.course_events.find({}).sort({"stream_id": 1, "version": 1}).to_list(None)


async def test_events_carry_what_is_known_of_course_lesson_and_learner(
    database: Database, kafka: str, topic: str
) -> None:
    await database.courses.insert_one(course())
    await database.users.insert_many(
        [
            {"_id": ObjectId(learner(1)), "preferences": {"timezone": "Europe/Berlin"}},
            {"_id": ObjectId(learner(2)), "preferences": {"timezone": "Mars/Olympus"}},
        ]
    )
    elsewhere = event(3, course_id=str(ObjectId()))
    found = await ingested(database, kafka, topic, event(1), event(1), event(2), elsewhere)
    by_stream = {each["stream_id"]: each for each in found}  # the last of each
    first = next(each for each in found if each["stream_id"] == stream_id(COURSE, learner(1)))
    lesson = {"version": "2.1.0", "module_id": MODULE, "lesson_type": "video", "topic": "Closures"}
    listed = b"".join(each["_id"].binary for each in LESSONS)
    assert first["curriculum"] == lesson | {"lesson_list": lesson_list_id(listed)}
    assert by_stream[stream_id(COURSE, learner(1))]["curriculum"] == lesson
    assert [each.get("time_zone") for each in by_stream.values()].count("Europe/Berlin") == 1
    assert "time_zone" not in by_stream[stream_id(COURSE, learner(2))]
    assert by_stream[stream_id(elsewhere["course_id"], learner(3))]["curriculum"] is None


@pytest.mark.slow
async def test_a_stamp_stays_what_was_known_then_however_often_the_record_comes_again(
    database: Database, kafka: str, topic: str
) -> None:
    """Else a replay of the log would have learners begin with lessons that there were not."""
    sent = records([event(1, event_type="course_enrolled", details={}), event(1)])
    await database.courses.insert_one(course())
    await send(kafka, topic, sent)
    chosen = options(kafka, topic)
    async with running(database, chosen) as ingest:
        await ingest.until_processed(2)
    before = await database.course_events.find({}).sort("version", 1).to_list(None)
    assert [each["curriculum"]["version"] for each in before] == ["2.1.0"] * 2
    grown = [{"_id": MODULE, "lessons": [*LESSONS, {"_id": ObjectId(), "type": "text"}]}]
    changed = {"curriculum": grown, "publication": {"version": "3.0"}}
    await database.courses.update_one({"_id": ObjectId(COURSE)}, {"$set": changed})
    zone = {"_id": ObjectId(learner(1)), "preferences": {"timezone": "Europe/Berlin"}}
    await database.users.insert_one(zone)

    async with running(database, with_kafka(chosen, group_id=f"again-{topic}")) as ingest:
        await ingest.until(lambda: ingest.outcome("redelivered") == 2, "the log is read once more")
        await send(kafka, topic, sent)
        await ingest.until(lambda: ingest.outcome("duplicate") == 2, "and both are sent once more")
    assert await database.course_events.find({}).sort("version", 1).to_list(None) == before


async def test_documents_that_nobody_can_read_cost_their_stamps_only(
    database: Database, kafka: str, topic: str
) -> None:
    lesson = raw_document((0x07, b"_id", ObjectId(LESSON).binary), (0x02, b"topic", raw_text(b"\xff")))
    module = raw_document((0x04, b"lessons", raw_document((0x03, b"0", lesson))))
    broken = raw_document(
        (0x07, b"_id", ObjectId(COURSE).binary), (0x04, b"curriculum", raw_document((0x03, b"0", module)))
    )
    zone = raw_document((0x02, b"timezone", raw_text(b"\xff")))
    user = raw_document((0x07, b"_id", ObjectId(learner(1)).binary), (0x03, b"preferences", zone))
    await database.courses.insert_one(RawBSONDocument(broken), bypass_document_validation=True)
    await database.users.insert_one(RawBSONDocument(user))
    [stored] = await ingested(database, kafka, topic, event(1))
    assert stored["curriculum"] is None
    assert "time_zone" not in stored


async def test_the_list_is_durable_before_the_first_event_that_names_it_and_stored_once(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str
) -> None:
    await database.courses.insert_one(course())
    async with (
        seen_by(mongodb.uri, database) as (watched, commands),
        running(watched, options(kafka, topic)) as ingest,
    ):
        for number in range(1, 5):  # a batch each
            enrolment = event(number, event_type="course_enrolled", details={})
            del enrolment["lesson_id"]
            await send(kafka, topic, records([enrolment, event(number)]))
            await ingest.until_processed(2 * number)
    writes = [each for each in commands.seen if each[:2] in (LIST_WRITE, EVENT_WRITE)]
    assert writes[:3] == [(*LIST_WRITE, "begins"), (*LIST_WRITE, "answered"), (*EVENT_WRITE, "begins")]
    assert commands.begun.count(LIST_WRITE) == 1
    assert commands.begun.count(EVENT_WRITE) >= 4
    listed = b"".join(each["_id"].binary for each in LESSONS)
    [stored] = await database.lesson_lists.find({}).to_list(None)
    assert (stored["_id"], stored["lessons"]) == (lesson_list_id(listed), listed)
    enrolments = await database.course_events.find({"event_type": "course_enrolled"}).to_list(None)
    assert [each["curriculum"] for each in enrolments] == [
        {"version": "2.1.0", "total_lessons": 2, "lesson_list": lesson_list_id(listed)}
    ] * 4
