"""Ingest on a real broker and a real mongod: every record comes out once, with its version or its reason."""

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import COURSE, LESSON, Sent, event, learner, options, records, running, send
from tests.support.waiting import until
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.origin import origin_header
from worker.contract.source import Source
from worker.settings import StartPolicy
from worker.storage.database import Database, Document
from worker.storage.documents import event_document, interaction_row
from worker.timing import SystemClock


async def test_events_become_versioned_documents_and_rows(database: Database, kafka: str, topic: str) -> None:
    await send(kafka, topic, records(event(number % 7) for number in range(300)))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(300)
    stored = await database.course_events.find({}).sort({"stream_id": 1, "version": 1}).to_list(None)
    rows = await database.user_interactions.find({}).to_list(None)
    versions: dict[str, list[int]] = {}
    for document in stored:
        versions.setdefault(document["stream_id"], []).append(document["version"])
    assert len(stored) == 300
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert {row["_id"]: row for row in rows} == {
        document["_id"]: interaction_row(document) for document in stored
    }
    assert len(rows) == 300


async def test_versions_follow_the_order_of_the_partition(database: Database, kafka: str, topic: str) -> None:
    published = [event(number % 3, details={"place": number}) for number in range(150)]
    await send(kafka, topic, records(published))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(150)
    stored = await database.course_events.find({}).sort({"version": 1}).to_list(None)
    by_learner: dict[ObjectId, list[int]] = {}
    for document in stored:
        by_learner.setdefault(document["event_data"]["user_id"], []).append(
            document["event_data"]["details"]["place"]
        )
    assert by_learner == {ObjectId(learner(n)): list(range(n, 150, 3)) for n in range(3)}


async def test_duplicates_and_conflicts_end_without_a_second_document(
    database: Database, kafka: str, topic: str
) -> None:
    first = event(1)
    other = {**first, "value": 99}
    await send(kafka, topic, records([first, first, other]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(3)
        await send(kafka, topic, records([first, other, event(2)]))
        await ingest.until_processed(6)
        outcomes = {name: ingest.outcome(name) for name in ("stored", "duplicate", "conflict")}
    dead_letters = await database.dead_letters.find({}).to_list(None)
    assert outcomes == {"stored": 2, "duplicate": 2, "conflict": 2}
    assert await database.course_events.count_documents({}) == 2
    assert await database.user_interactions.count_documents({}) == 2
    assert [(each["reason"], each["value"]) for each in dead_letters] == [("conflict", encode(other))] * 2


async def test_the_same_event_in_another_spelling_is_a_duplicate(
    database: Database, kafka: str, topic: str
) -> None:
    first = event(1, occurred_at="2026-03-01T10:00:00Z")
    spellings = [
        {**first, "occurred_at": "2026-03-01T10:00:00+00:00"},
        {**first, "occurred_at": "2026-03-01T12:00:00.000+02:00", "event_id": first["event_id"].upper()},
        {**first, "course_id": COURSE.upper(), "schema_version": 1},
    ]
    await send(kafka, topic, records([first, spellings[0], event(2)]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(3)
        await send(kafka, topic, records(spellings))
        await ingest.until_processed(6)
        outcomes = {name: ingest.outcome(name) for name in ("stored", "duplicate", "conflict")}
    assert outcomes == {"stored": 2, "duplicate": 4, "conflict": 0}


async def test_what_was_stored_under_an_old_fingerprint_is_known_again_after_the_upgrade(
    database: Database, kafka: str, topic: str
) -> None:
    """Redelivered to its partition, sent again in whatever spelling, and contradicted."""
    old = [event(number, occurred_at="2026-03-01T10:00:00Z") for number in range(4)]
    places = await send(kafka, topic, records(old))
    for fields, place in zip(old, places, strict=True):
        await database.course_events.insert_one(
            _stored_before_the_upgrade(encode(fields), Source(topic, *place))
        )
    await send(
        kafka, topic, records([{**fields, "occurred_at": "2026-03-01T10:00:00+00:00"} for fields in old])
    )
    await send(kafka, topic, records([{**old[0], "value": 99}]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(9)
        names = ("stored", "redelivered", "duplicate", "conflict")
        outcomes = {name: ingest.outcome(name) for name in names}
    assert outcomes == {"stored": 0, "redelivered": 4, "duplicate": 4, "conflict": 1}
    assert await database.user_interactions.count_documents({}) == 4


async def test_a_stored_event_that_nobody_can_read_is_a_conflict_and_ends_no_role(
    database: Database, kafka: str, topic: str
) -> None:
    fields = event(1)
    (place,) = await send(kafka, topic, records([event(2)]))
    stored = _stored_before_the_upgrade(encode({**fields, "value": 3}), Source(topic, *place))
    stored["event_data"]["details"] = {"never": DatetimeMS(2**55)}
    await database.course_events.insert_one(stored)
    await send(kafka, topic, records([fields, event(3)]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(3)
        outcomes = {name: ingest.outcome(name) for name in ("stored", "conflict")}
    assert outcomes == {"stored": 2, "conflict": 1}


def _stored_before_the_upgrade(value: bytes, source: Source) -> Document:
    """What an older worker made of a record: the fingerprint of its spelling, and no version beside it."""
    decoded = decode_event(value, timestamp=SystemClock().now())
    assert isinstance(decoded, Event)
    spelling = hashlib.sha256(value).digest()  # `encode` writes sorted keys
    assert spelling != decoded.fingerprint
    document = event_document(decoded._replace(fingerprint=spelling), 1, source, SystemClock().now(), None)
    del document["metadata"]["fingerprint_version"]
    return document


async def test_a_dead_letter_has_the_exact_bytes_headers_and_position(
    database: Database, kafka: str, topic: str
) -> None:
    broken = b'{"event_id": "\xff'
    [(partition, offset)] = await send(
        kafka, topic, [Sent(broken, b"k", 2, (("trace", b"abc"), ("empty", b"")))]
    )
    await send(kafka, topic, records([event(1)]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert (dead_letter["value"], dead_letter["key"], dead_letter["reason"]) == (broken, b"k", "not_utf8")
    assert (dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]) == (
        topic,
        partition,
        offset,
    )
    assert dead_letter["headers"] == [{"key": "trace", "value": b"abc"}, {"key": "empty", "value": b""}]
    assert await database.course_events.count_documents({}) == 1


async def test_tombstones_and_erased_learners_are_skipped_and_counted(
    database: Database, kafka: str, topic: str
) -> None:
    await database.tombstones.insert_one(
        {"_id": ObjectId(learner(5)), "reason": "erased", "created_at": SystemClock().now()}
    )
    await send(kafka, topic, [Sent(None, b"k"), *records([event(5), event(6)])])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(3)
        assert (ingest.outcome("skipped"), ingest.outcome("stored")) == (2, 1)
    assert await database.user_interactions.count_documents({}) == 1


async def test_a_restart_goes_on_where_the_last_commit_was(
    database: Database, kafka: str, topic: str
) -> None:
    await send(kafka, topic, records(event(n) for n in range(20)))
    async with running(database, options(kafka, topic)) as first:
        await first.until_processed(20)
    await send(kafka, topic, records(event(n) for n in range(20)))
    async with running(database, options(kafka, topic)) as second:
        await second.until_processed(20)
        assert second.outcome("stored") == 20
        await until(
            lambda: second.value("kafka_consumer_lag_records", topic=topic, partition="0") == 0, "no lag"
        )
    assert await database.course_events.count_documents({}) == 40


async def test_producers_without_keys_are_correct_with_two_workers(
    database: Database, kafka: str, topic: str
) -> None:
    published = [Sent(encode(event(number % 5)), partition=number % 4) for number in range(2_000)]
    async with (
        running(database, options(kafka, topic)) as one,
        running(database, options(kafka, topic)) as two,
    ):
        for worker in (one, two):
            await worker.until_assigned(2)
        await send(kafka, topic, published)
        await until(lambda: one.processed() + two.processed() >= 2_000, "all processed by either worker")
        assert one.processed() > 0
        assert two.processed() > 0
    versions: Counter[tuple[str, int]] = Counter()
    async for document in database.course_events.find({}, {"stream_id": 1, "version": 1, "event_type": 1}):
        versions[document["stream_id"], document["version"]] += 1
    streams: dict[str, list[int]] = {}
    for (stream, version), count in versions.items():
        assert count == 1
        streams.setdefault(stream, []).append(version)
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in streams.values())
    assert await database.course_events.count_documents({"event_type": {"$ne": "void"}}) == 2_000
    assert await database.user_interactions.count_documents({}) == 2_000


async def test_an_enrolment_without_a_total_takes_the_count_of_the_course(
    database: Database, kafka: str, topic: str
) -> None:
    lessons: list[dict[str, Any]] = [{"_id": ObjectId()} for _ in range(3)]
    await insert_course(database, [{"lessons": lessons}, {"lessons": lessons[:2]}])
    enrolment = event(1, event_type="course_enrolled", details={})
    del enrolment["lesson_id"], enrolment["value"]
    await send(kafka, topic, records([enrolment]))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(1)
    [document] = await database.course_events.find({}).to_list(None)
    assert document["curriculum"]["total_lessons"] == 5


async def insert_course(database: Database, modules: list[dict[str, Any]]) -> None:
    await database.courses.insert_one(
        {
            "_id": ObjectId(COURSE),
            "title": "Counting",
            "instructor_id": ObjectId(LESSON),
            "status": "published",
            "created_at": SystemClock().now(),
            "curriculum": modules,
        }
    )


@pytest.mark.slow
async def test_a_group_that_began_at_the_end_reads_all_that_came_while_no_worker_ran(
    database: Database, kafka: str, topic: str
) -> None:
    old, late = ([event(number) for number in range(4)] for _ in range(2))
    # One record a partition: of more, the embedded broker does not tell the end when it is asked.
    await send(kafka, topic, [replace(r, partition=n) for n, r in enumerate(records(old))])
    chosen = options(kafka, topic, start_policy=StartPolicy.LATEST)
    async with running(database, chosen) as ingest:
        await ingest.until_assigned(4)
    await send(kafka, topic, [replace(r, partition=n) for n, r in enumerate(records(late))])
    async with running(database, chosen) as ingest:
        await ingest.until_processed(4)
    await assert_exactly_once(database, late)


async def test_an_event_carries_the_job_that_published_its_record(
    database: Database, kafka: str, topic: str
) -> None:
    live, brought = event(1), event(2)
    [by_job] = records([brought])
    await send(kafka, topic, [*records([live]), replace(by_job, headers=(origin_header("backfill"),))])
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
    found = await database.course_events.find({}).to_list(None)
    assert {str(each["_id"]): each["metadata"].get("origin") for each in found} == {
        live["event_id"]: None,
        brought["event_id"]: "backfill",
    }
