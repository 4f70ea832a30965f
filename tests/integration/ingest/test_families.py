"""A second topic of another family needs one row in the route table; its streams are of another kind."""

import uuid
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
import pytest
from bson import ObjectId
from pydantic import Field

from tests.support.ingest import Sent, event, options, records, running, send, with_kafka
from worker.contract.codec import encode
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.family import Family, Inlet
from worker.contract.fields import Id
from worker.contract.formats import Format, Headers
from worker.contract.identity import stream_object_id, stream_slot
from worker.contract.models import Envelope, by_type
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import Route
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database


class CourseEdited(Envelope):
    """An author changed a course; who it was may be said."""

    event_type: Literal["course_published", "course_renamed"]
    course_id: Id
    value: Annotated[float, Field(ge=0)] = 0


COURSES = Family("courses", Inlet.CONTENT, ("course",), by_type(CourseEdited))


def _is_list(headers: Headers, value: bytes) -> bool:
    return ("content-type", b"application/vnd.edits+json") in headers


def _translate(value: bytes) -> list[bytes | Rejected]:
    try:
        edits = orjson.loads(value)["edits"]
    except (ValueError, KeyError, TypeError):
        return [Rejected(RejectReason.NOT_JSON, "is no list of edits")]
    return [orjson.dumps(edit) for edit in edits]


EDITS = Format("edits", _is_list, _translate)
HEADER = ("content-type", b"application/vnd.edits+json")
FIRST, SECOND = ObjectId(), ObjectId()


def edited(course: ObjectId, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "course_published",
        "occurred_at": "2026-03-01T10:00:00.000Z",
        "course_id": str(course),
        "user_agent": "editor/1.0",
        **fields,
    }


def single(fields: dict[str, Any], partition: int = 0) -> Sent:
    return Sent(encode(fields), partition=partition)


def several(*edits: dict[str, Any], partition: int = 0) -> Sent:
    return Sent(orjson.dumps({"edits": list(edits)}), partition=partition, headers=(HEADER,))


@pytest.mark.slow
async def test_streams_of_courses_live_in_the_same_store_with_versions_of_their_own(
    database: Database, kafka: str, topic: str
) -> None:
    second = f"{topic}-courses"
    await create_topic(kafka, second, partitions=4)
    table = {
        topic: Route(topic, (INTERACTIONS,)),
        second: Route(second, (COURSES,), formats=(EDITS,)),
    }
    base = options(kafka, topic)
    chosen = options(kafka, topic, routes=table, consumer=_reading(base.consumer, (topic, second)))
    same = edited(SECOND)
    sent = [
        single(edited(FIRST)),
        several(edited(FIRST), edited(SECOND), edited(FIRST, event_type="no_such_type"), edited(FIRST)),
        several(),
        several(same, same),
        Sent(b"{", partition=0, headers=(HEADER,)),
        single({name: value for name, value in edited(FIRST).items() if name != "course_id"}),
        single(edited(SECOND, user_id=str(ObjectId()))),
    ]
    await send(kafka, second, sent)
    await send(kafka, topic, records([event(1), event(2)]))
    async with running(database, chosen) as ingest:

        def outcomes(name: str) -> int:
            return int(ingest.value("events_processed_total", topic=second, outcome=name))

        await ingest.until(lambda: ingest.outcome("stored") == 2, "the learners' events")
        await ingest.until(
            lambda: outcomes("dead_lettered") == 3 and outcomes("stored") == 6, "the courses' events"
        )
        assert (outcomes("duplicate"), outcomes("skipped")) == (1, 1)
        assert ingest.value("events_dropped_total", reason="unexpected") == 0
    again = with_kafka(chosen, group_id=f"again-{topic}")
    async with running(database, again) as ingest:  # every record comes once more
        await ingest.until(lambda: outcomes("redelivered") == 6, "each event is known by its own place")
        await ingest.until(lambda: outcomes("dead_lettered") == 3, "and each dead letter")
        assert (outcomes("duplicate"), outcomes("skipped"), outcomes("stored")) == (1, 1, 0)
    stored = (
        await database.course_events.find({"stream_id": f"course_{FIRST}"}).sort("version", 1).to_list(None)
    )
    assert [each["version"] for each in stored] == [1, 2, 3]
    assert [each["metadata"]["source"]["index"] for each in stored] == [0, 0, 3]
    assert all(each["event_data"] == {"course_id": FIRST} for each in stored)
    assert all(each["personal"] == {"user_agent": "editor/1.0"} for each in stored)
    assert {each["slot"] for each in stored} == {stream_slot(f"course_{FIRST}")}
    assert stream_object_id(f"course_{FIRST}") == FIRST
    assert await database.course_events.distinct("version", {"stream_id": f"course_{SECOND}"}) == [1, 2, 3]
    assert await database.user_interactions.count_documents({}) == 2
    reasons = [row["reason"] for row in await database.dead_letters.find({}).sort("offset", 1).to_list(None)]
    assert reasons == ["unknown_event_type", "not_json", "missing_field"]


def _reading(consumer: Any, topics: tuple[str, ...]) -> Any:
    return replace(consumer, topics=topics)
