"""`trace`: where an event has come to, and for each place it is not at, why not."""

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from projections.progress.projection import PROGRESS
from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.history import COURSE as STORED_COURSE
from tests.integration.verify.history import learner as stored_learner
from tests.integration.verify.history import store
from tests.support.commands import sevenp_worker
from tests.support.ingest import COURSE, Sent, event, learner, options, records, send
from tests.support.waiting import until
from tests.support.worker_process import StartWorker
from worker.app.exits import ExitCode
from worker.contract.gaps import GapReason
from worker.contract.identity import stream_id
from worker.ingest.dead_letters import store_gaps
from worker.kafka.log_reader import LogReader
from worker.kafka.positions import Gap
from worker.kafka.record import Partition
from worker.queries.trace.log import Look, looking_by, not_asked
from worker.queries.trace.named import NotTraceable
from worker.queries.trace.run import trace
from worker.queries.trace.stops import Stop, Trace
from worker.storage.database import Database
from worker.storage.outbox import notification_id
from worker.storage.work_items import counts_item_id
from worker.timing import SystemClock
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.fold import Failure

PAYMENT = {"transaction_id": "t-1", "amount": "19.90", "currency": "EUR", "method": "card"}
ENROLLED = event(
    1,
    event_type="course_enrolled",
    lesson_id=None,
    value=None,
    details={"total_lessons": 1, "payment": PAYMENT},
)
ENROLLED = {name: value for name, value in ENROLLED.items() if value is not None}
VIEWED, COMPLETED = event(1), event(1, event_type="complete")
STREAM = stream_id(COURSE, learner(1))


def stop(found: Trace, place: str) -> Stop:
    """The one stop at this place."""
    (one,) = [each for each in found.stops if each.place == place]
    return one


def states(found: Trace) -> dict[str, str]:
    return {each.place: each.state for each in found.stops}


@contextlib.asynccontextmanager
async def log_of(kafka: str, topic: str) -> AsyncIterator[Look]:
    clock = SystemClock()
    async with LogReader(options(kafka, topic).consumer, clock) as reader:
        yield looking_by(reader, clock)


@pytest.mark.slow
async def test_what_a_worker_made_of_events_is_found_at_every_place(
    database: Database, kafka: str, topic: str, start_worker: StartWorker, settings: dict[str, str]
) -> None:
    conflict = {**VIEWED, "value": 77.0}
    bad = {**event(2), "user_id": "nobody"}
    made = records([ENROLLED, VIEWED, COMPLETED, conflict, bad], partition=0)
    places = await send(kafka, topic, [*made, Sent(None, b"k", 0)])
    start_worker(roles="ingest,progress,counts")

    async def all_there() -> bool:
        row = await database.user_progress_projections.find_one({"stream_id": STREAM})
        return (
            row is not None
            and row["last_event_version"] == 3
            and await database.dead_letters.count_documents({}) == 2
        )

    await until(all_there, "everything is counted, and refused")
    async with log_of(kafka, topic) as look:
        enrolled = await trace(database, ENROLLED["event_id"], look)
        viewed = await trace(database, VIEWED["event_id"], look)
        completed = await trace(database, f"{topic}:0:{places[2][1]}", look)
        refused = await trace(database, bad["event_id"].upper(), look)
        empty = await trace(database, f"{topic}:0:{places[5][1]}", look)
        again = await trace(database, f"{topic}:0:{places[3][1]}", look)
        beyond = await trace(database, f"{topic}:0:999", look)

    _assert_everywhere(enrolled, topic)
    assert stop(viewed, "notifications").detail == "the event reached no milestone: nobody is told of it"
    assert stop(viewed, "billing_transactions").detail == "the event names no payment"
    assert stop(viewed, "dead_letters").detail.startswith("conflict: event_id another event")
    assert stop(completed, "notifications").what == notification_id("completion", STREAM)
    assert completed.event_id == COMPLETED["event_id"]

    assert states(refused) == {"record": "there", "dead_letters": "there", "course_events": "not there"}
    assert stop(refused, "dead_letters").detail == "invalid_field: user_id must be 24 hexadecimal digits"
    assert stop(empty, "course_events").detail == "a record without a value holds no event"
    assert stop(again, "record").detail.endswith(f"; the event was stored from {topic}:0:1, not from here")
    assert stop(beyond, "record").detail.startswith("the log ")

    ended = await sevenp_worker(settings, "trace", ENROLLED["event_id"], "--json")
    assert ended.code == ExitCode.OK, ended.output
    told = json.loads(ended.output)
    assert (told["found"], len(told["stops"]), told["version"]) == (True, 9, 1)


def _assert_everywhere(enrolled: Trace, topic: str) -> None:
    assert [each.place for each in enrolled.stops] == [
        "record",
        "course_events",
        "user_interactions",
        "user_progress",
        "user_progress_projections",
        "courses.stats",
        "users.stats",
        "notifications",
        "billing_transactions",
    ]
    record = stop(enrolled, "record")
    assert (record.what, record.detail) == (f"{topic}:0:0", f"key {COURSE}:{learner(1)}")
    assert record.at is not None
    assert abs((datetime.now(UTC) - record.at).total_seconds()) < 600
    assert (enrolled.stream, enrolled.version) == (STREAM, 1)
    assert stop(enrolled, "user_interactions").at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert stop(enrolled, "notifications").what == notification_id("welcome", STREAM)
    assert stop(enrolled, "notifications").detail.startswith("suppressed: the milestone was too old")
    assert stop(enrolled, "billing_transactions").detail == "completed"
    for place in ("courses.stats", "users.stats"):
        assert stop(enrolled, place).state == "not there"
        assert "the platform has no such" in stop(enrolled, place).detail


async def test_a_record_that_no_worker_has_read_yet_waits(database: Database, kafka: str, topic: str) -> None:
    (_, offset), *_ = await send(kafka, topic, records([ENROLLED], partition=1))
    async with log_of(kafka, topic) as look:

        async def known() -> Trace | None:
            """A real broker takes some time until it answers for a group that nobody has joined."""
            told = await trace(database, f"{topic}:1:{offset}", look)
            return None if stop(told, "record").state == "not known" else told

        found = await until(known, "Kafka says what it has there")
    record = stop(found, "record")
    assert (record.state, stop(found, "dead_letters").state) == ("there", "not there"), record
    assert stop(found, "course_events").detail == "nothing that is stored says what became of it"
    assert found.event_id == ENROLLED["event_id"]


@pytest.mark.slow
async def test_where_kafka_cannot_be_asked_it_is_not_known_whether_a_record_is_there(
    database: Database, kafka: str, topic: str
) -> None:
    """To say that a record that lies in the log is not there would have somebody publish it again."""
    (_, offset), *_ = await send(kafka, topic, records([ENROLLED], partition=1))
    async with log_of(kafka, topic) as look:
        elsewhere = await trace(database, f"{topic}:9:{offset}", look)
        beyond = await trace(database, f"{topic}:1:{offset + 1_000_000}", look)
    unasked = await trace(database, f"{topic}:1:{offset}", not_asked)
    assert stop(elsewhere, "record").state == "not known"
    assert "is none of the worker's partitions" in stop(elsewhere, "record").detail
    assert (stop(unasked, "record").state, stop(unasked, "record").detail) == (
        "not known",
        "no broker was asked",
    )
    assert stop(beyond, "record").state == "not there", stop(beyond, "record")


async def test_a_lost_record_and_an_unknown_one_are_told_apart(
    database: Database, settings: dict[str, str]
) -> None:
    gap = Gap(Partition("t", 3), 100, 120, GapReason.RETENTION, "the log begins after the position")
    await store_gaps(database, [gap], datetime.now(UTC))
    lost = await trace(database, "t:3:110", not_asked)
    assert stop(lost, "lost record").detail.startswith("offsets 100 to 120 were lost: the log begins")
    assert stop(lost, "course_events").detail == "the record was lost before it could be read"
    unknown = await trace(database, str(uuid4()), not_asked)
    assert not unknown.found
    ended = await sevenp_worker(
        {**settings, "SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "trace", str(uuid4())
    )
    assert (ended.code, "Kafka is left out" in ended.output) == (ExitCode.USAGE, True)
    with pytest.raises(NotTraceable, match="neither an event id"):
        await trace(database, "t:3", not_asked)


async def test_every_place_that_an_event_has_not_come_to_says_why(database: Database) -> None:
    ada = stored_learner("ada")
    await store(database, [ada], rows={ada.stream: ada.rows[:-1]})
    history = counted([ada])
    await store_counted(database, history, [ada])
    identity, last = ada.progress["_id"], ada.events[-1]
    await database.user_progress.update_one({"_id": identity}, {"$set": {"version": 8}})
    await database.user_progress_projections.update_one(
        {"_id": identity}, {"$set": {"last_event_version": 8}}
    )
    failure = Failure(ada.stream, 9, "ArithmeticError", "in fold.py")
    found = await trace(database, str(last["_id"]), not_asked)
    assert stop(found, "user_interactions").detail.startswith("no row of this id at the event's time")
    assert stop(found, "user_progress").state == "waits"
    assert stop(found, "user_progress").detail.startswith(
        "it is at version 8; the role progress has not come"
    )
    assert stop(found, "user_progress_projections").state == "waits"
    assert stop(found, "courses.stats").detail == "it follows the row above"

    await quarantine_streams(database, PROGRESS.name, [failure], code_version="1")
    item = {
        "_id": counts_item_id("course", STORED_COURSE),
        "event_type": "counts_fold",
        "data": {},
        "status": "failed",
    }
    await database.analytics_queue.insert_one(
        {**item, "retry_count": 5, "created_at": datetime.now(UTC), "last_error": "no number"}
    )
    found = await trace(database, str(last["_id"]), not_asked)
    stands = stop(found, "user_progress")
    assert stands.state == "not there"
    assert "quarantined at version 9" in stands.detail
    assert "ArithmeticError" in stands.detail or "in fold.py" in stands.detail
    assert "no number" in stop(found, "courses.stats").detail
    assert {each.what for each in found.stops if each.place == "analytics_queue"} == {
        f"progress:{ada.stream}",
        item["_id"],
    }


async def test_a_notification_that_is_missing_or_was_made_by_another_event_says_so(
    database: Database,
) -> None:
    ada = stored_learner("ada")
    await store(database, [ada])
    await store_counted(database, counted([ada]), [ada])
    enrolment = str(ada.events[0]["_id"])
    there = await trace(database, enrolment, not_asked)
    assert (stop(there, "notifications").state, stop(there, "notifications").detail) == ("there", "pending")
    await database.notifications.delete_many({})
    missing = stop(await trace(database, enrolment, not_asked), "notifications")
    assert (missing.state, missing.detail.startswith("the learner is counted, and there is no row")) == (
        "not there",
        True,
    )


async def test_a_void_has_no_way_to_follow(database: Database) -> None:
    ada = stored_learner("ada")
    await store(database, [ada])
    found = await trace(database, str(ada.events[4]["_id"]), not_asked)
    assert [each.place for each in found.stops] == ["record", "course_events"]
    assert stop(found, "course_events").detail == "a void: it holds a version number, nothing else"
