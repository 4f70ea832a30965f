"""A worker as a process that owns courses: their events on the content topic become documents, with their sums."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import catalogue_for
from tests.oracle.case import Case
from tests.oracle.courses import course_documents
from tests.oracle.stored import Stored
from tests.support.courses import event_data, golden_course
from tests.support.ingest import Sent, event, records, send
from tests.support.waiting import until
from tests.support.worker_process import StartWorker
from worker.contract.codec import encode
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.verify.run import verify


def story_of(course: ObjectId, place: int) -> list[Document]:
    """The events of a course, with ids of its own."""
    return [
        {**each, "course_id": str(course), "event_id": f"{place:08x}-0000-4000-8000-{number:012x}"}
        for number, each in enumerate(golden_course(), start=1)
    ]


@pytest.mark.slow
async def test_courses_of_events_in_any_order_are_whole_with_slug_and_statistics(
    database: Database, kafka: str, topic: str, start_worker: StartWorker
) -> None:
    own = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    await apply_schema(own)
    content = f"{topic}-content"
    await create_topic(kafka, content, partitions=2)
    first, second = sorted([ObjectId(), ObjectId()])
    broken = event_data(
        "course_priced", 1, course=first, pricing={"price": {"amount": "x", "currency": "USD"}}
    )
    sent = [*reversed(story_of(first, 1)), *story_of(second, 2), {**broken, "event_id": str(_uuid(3))}]
    await send(kafka, topic, records([event(course_id=str(first)) for _ in range(5)]))
    await send(kafka, content, [Sent(encode(each), each["course_id"].encode(), None) for each in sent])
    worker = start_worker(roles="ingest,progress,counts,retry", content_topic=content, courses_owner="worker")
    await asyncio.to_thread(worker.wait_until_ready)

    async def whole() -> bool:
        found = {each["_id"]: each async for each in own.courses.find({})}
        total = found.get(first, {}).get("stats", {}).get("enrollments", {}).get("total")
        slugs = [each.get("slug") for each in found.values()]
        return total is not None and len(found) == 2 and slugs.count("full-stack") == 1 and await at_rest()

    async def at_rest() -> bool:
        lengths = {each["_id"]: each["version"] async for each in own.courses.find({}, {"version": 1})}
        return set(lengths.values()) == {len(golden_course())}

    await until(whole, "both courses are whole")
    events = await own.course_events.find({}).to_list(None)
    courses = await own.courses.find({}).to_list(None)
    case = Case(Stored(events=events, courses=courses), owned=frozenset({"courses"}))
    assert list(course_documents(case)) == []
    assert [each["field"] for each in await own.dead_letters.find({}).to_list(None)] == [
        "details.pricing.price.amount"
    ]
    worker.popen.terminate()
    assert await asyncio.to_thread(worker.exit_code) == 0
    assert (await verify(own, quiescent=True)).finding_counts == {}


def _uuid(number: int) -> Any:
    return f"{number:08x}-0000-4000-8000-000000000000"
