"""`publish-from-store`: what comes back is a duplicate, what was interrupted goes on, what must not leave stays."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.conftest import RunningMongo
from tests.integration.verify.history import Learner, learner, store
from tests.support.commands import sevenp_worker
from tests.support.ingest import options, running, with_kafka
from tests.support.jobs import NOON, parts
from tests.support.opening import opening_event
from tests.support.waiting import until
from tests.support.worker_pool import shared_pool
from worker.app.exits import ExitCode
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.export import examples
from worker.contract.families import ALL_TYPES
from worker.contract.family import Inlet
from worker.contract.identity import parse_stream_id
from worker.contract.source import Source
from worker.devstack.servers.topics import create_topic
from worker.errors import TopicMissing
from worker.jobs.context import Parts, Progress
from worker.jobs.publish_stored import PUBLISH_STORED, PublishStored
from worker.jobs.runner import Runner
from worker.settings import variable
from worker.storage.database import Database, make_client, open_database
from worker.storage.documents import event_document
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.storage.stream_selection import StreamSelection

LEARNERS = [learner(f"learner-{n}", events=8) for n in range(5)]
EVENTS = [event for each in LEARNERS for event in each.events]
SENT = [event for event in EVENTS if event["event_type"] != "void"]


def given(database: Database, kafka: str) -> Parts:
    made = parts(database)
    servers = made.settings.kafka.model_copy(update={"bootstrap_servers": kafka})
    return Parts(database, made.settings.model_copy(update={"kafka": servers}), made.clock, made.metrics)


async def published(kafka: str, topic: str, number: int) -> list[tuple[Event, Any]]:
    """So many records of the topic in the order of each partition, as events, and their headers."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(4)])
        found: list[tuple[Event, Any]] = []
        while len(found) < number:
            polled = await asyncio.wait_for(consumer.getmany(timeout_ms=1_000), 30)
            for message in (each for some in polled.values() for each in some):
                event = decode_event(message.value, timestamp=datetime.now(UTC))
                assert isinstance(event, Event)
                found.append((event, message.headers))
        return found
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_what_comes_back_is_a_duplicate_and_what_comes_elsewhere_is_history(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str
) -> None:
    await store(database, LEARNERS)
    before = await database.course_events.find({}).sort("_id", 1).to_list(None)
    result = await Runner(given(database, kafka), "anna").run(PUBLISH_STORED, PublishStored(topic=topic))
    assert result.run.counts == {"published": len(SENT), "own": len(EVENTS) - len(SENT)}
    assert result.outcome == {"topic": topic, "wrong": []}

    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(len(SENT))
        assert ingest.outcome("duplicate") == len(SENT)
    assert await database.course_events.find({}).sort("_id", 1).to_list(None) == before
    assert await database.dead_letters.count_documents({}) == 0

    client = make_client(mongodb.uri)
    other = open_database(client, prefix=f"other-{uuid4().hex[:8]}")
    try:
        await apply_schema(other)
        chosen = with_kafka(options(kafka, topic), group_id="elsewhere")
        async with running(other, chosen) as ingest:
            await ingest.until_processed(len(SENT))
        copies = await other.course_events.find({}).to_list(None)
        assert {each["_id"] for each in copies} == {each["_id"] for each in SENT}
        assert {each["metadata"]["origin"] for each in copies} == {"publish-from-store"}
        by_stream: dict[str, list[Any]] = {}
        for each in sorted(copies, key=lambda one: one["version"]):
            by_stream.setdefault(each["stream_id"], []).append(each["_id"])
        assert by_stream == {
            one.stream: [event["_id"] for event in one.events if event["event_type"] != "void"]
            for one in LEARNERS
        }
    finally:
        for home in (other.content, other.analytics, other.config):
            await client.drop_database(home.name)
        await close(client)


@pytest.mark.parametrize("dies_after", [1, 2, 4])
async def test_a_run_that_is_interrupted_goes_on_and_publishes_little_twice(
    database: Database, kafka: str, topic: str, dies_after: int
) -> None:
    await store(database, LEARNERS)
    arguments, steps = PublishStored(topic=topic, rate=10), Counter[str]()

    def die(progress: Progress) -> None:
        steps["saved"] += progress.done > 0
        if steps["saved"] == dies_after:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Runner(given(database, kafka), "anna", die).run(PUBLISH_STORED, arguments)
    result = await Runner(given(database, kafka), "anna").run(PUBLISH_STORED, arguments)
    assert (result.run.attempts, result.run.number) == (2, 1)
    assert result.run.counts["published"] == len(SENT)
    found = Counter(event.event_id for event, _ in await published(kafka, topic, len(SENT)))
    assert set(found) == {event["_id"] for event in SENT}
    assert sum(found.values()) <= len(SENT) + 10


@pytest.mark.slow
async def test_a_process_that_is_killed_has_lost_nothing(
    database: Database, kafka: str, topic: str, settings: dict[str, str], tmp_path: Path
) -> None:
    await store(database, LEARNERS)
    settings = {**settings, variable("jobs_lease_s"): "2"}
    arguments = ("publish", "--from-store", "--topic", topic, "--rate", "10", "--json")
    process = shared_pool().start("sevenp-worker", tmp_path / "output", settings, arguments)

    async def is_under_way() -> bool:
        return await database.job_runs.find_one({"progress.done": {"$gt": 0}}) is not None

    try:
        await until(is_under_way, "some events are published")
    finally:
        process.popen.kill()
        process.popen.wait()
    ended = await sevenp_worker(settings, *arguments)
    told = json.loads(ended.output[ended.output.index("{\n") :])
    assert (ended.code, told["attempts"], told["counts"]["published"]) == (ExitCode.OK, 2, len(SENT))
    found = Counter(event.event_id for event, _ in await published(kafka, topic, len(SENT)))
    assert set(found) == {event["_id"] for event in SENT}


async def test_only_what_is_selected_is_published_event_by_event(
    database: Database, kafka: str, topic: str
) -> None:
    await store(database, LEARNERS)
    user = (parse_stream_id(LEARNERS[2].stream) or {})["user_id"]
    of = StreamSelection(learner=str(user), event_types=("view", "complete"))
    await Runner(given(database, kafka), "anna").run(PUBLISH_STORED, PublishStored(topic=topic, of=of))
    wanted = [e["_id"] for e in LEARNERS[2].events if e["event_type"] in ("view", "complete")]
    found = await published(kafka, topic, len(wanted))
    assert [event.event_id for event, _ in found] == wanted
    assert found[0][1] == (("sevenp-origin", b"publish-from-store"),)


async def test_what_must_not_leave_stays_and_what_is_wrong_is_named(
    database: Database, kafka: str, topic: str
) -> None:
    ada, gone = learner("ada", events=6), learner("gone", events=4, void_at=None)
    await store(database, [ada, gone])
    await database.course_events.insert_one(opening_event(ada.stream, 7, NOON))
    change: dict[int, dict[str, Any]] = {
        2: {"event_data.details": {"time_spent": 99}},
        3: {"key_id": "k", "personal": {"sealed": b"x"}},
    }
    for version, fields in change.items():
        await database.course_events.update_one(
            {"stream_id": ada.stream, "version": version}, {"$set": fields}
        )
    user = (parse_stream_id(gone.stream) or {})["user_id"]
    await database.tombstones.insert_one({"_id": user, "reason": "asked", "created_at": NOON})
    dry = await Runner(given(database, kafka), "anna").run(
        PUBLISH_STORED, PublishStored(topic="nowhere"), dry_run=True
    )
    result = await Runner(given(database, kafka), "anna").run(PUBLISH_STORED, PublishStored(topic=topic))
    assert result.run.counts == {"published": 3, "own": 2, "sealed": 1, "altered": 1, "erased": 4}
    assert dry.run.counts == result.run.counts
    altered = _event(ada, 2)["_id"]
    assert result.outcome["wrong"] == [str(altered)]
    assert PUBLISH_STORED.differs(result.outcome)
    found = await published(kafka, topic, 3)
    assert [event.event_id for event, _ in found] == [_event(ada, version)["_id"] for version in (1, 4, 6)]


async def test_a_topic_that_does_not_exist_is_not_made(database: Database, kafka: str) -> None:
    await store(database, LEARNERS[:1])
    with pytest.raises(TopicMissing, match="no-such-topic"):
        await Runner(given(database, kafka), "anna").run(PUBLISH_STORED, PublishStored(topic="no-such-topic"))


async def test_two_may_publish_to_two_topics_and_not_to_one(
    database: Database, kafka: str, topic: str
) -> None:
    await create_topic(kafka, f"{topic}-b", partitions=4)
    assert PUBLISH_STORED.alone(PublishStored(topic=topic), dry_run=False) == f"publish-from-store:{topic}"
    await store(database, LEARNERS)
    runs = [
        Runner(given(database, kafka), who).run(PUBLISH_STORED, PublishStored(topic=name))
        for who, name in (("anna", topic), ("ben", f"{topic}-b"))
    ]
    results = await asyncio.gather(*runs)
    assert [each.run.counts["published"] for each in results] == [len(SENT)] * 2


def _event(of: Learner, version: int) -> dict[str, Any]:
    return next(each for each in of.events if each["version"] == version)


@pytest.mark.slow
async def test_the_command_publishes_what_is_selected_and_says_how_many(
    database: Database, kafka: str, topic: str, settings: dict[str, str]
) -> None:
    await store(database, LEARNERS)
    asked = ("publish", "--from-store", "--topic", topic, "--stream", LEARNERS[0].stream, "--json")
    dry = await sevenp_worker(settings, *asked, "--dry-run")
    assert (dry.code, json.loads(dry.output)["counts"]) == (ExitCode.OK, {"own": 1, "published": 7})
    ended = await sevenp_worker(settings, *asked)
    assert (ended.code, json.loads(ended.output)["counts"]["published"]) == (ExitCode.OK, 7)
    assert len(await published(kafka, topic, 7)) == 7
    row = await database.audit.find_one({})
    assert row is not None
    assert (row["command"], row["arguments"]["topic"]) == ("publish-from-store", topic)


async def test_events_of_another_kind_are_published_where_they_are_asked_for(
    database: Database, kafka: str, topic: str
) -> None:
    """Whoever reads a topic takes the events of one inlet there."""
    promotion = decode_event(
        encode(examples()["promotion_created"]),
        timestamp=datetime(2024, 1, 15, 12, tzinfo=UTC),
        types=ALL_TYPES,
    )
    assert isinstance(promotion, Event)
    await store(database, LEARNERS[:1])
    source = Source("billing", 0, 0)
    await database.course_events.insert_one(event_document(promotion, 1, source, datetime.now(UTC), None))
    runner = Runner(given(database, kafka), "anna")
    number = len([event for event in LEARNERS[0].events if event["event_type"] != "void"])
    learners = await runner.run(PUBLISH_STORED, PublishStored(topic=topic))
    assert (learners.run.counts["published"], learners.run.counts["elsewhere"]) == (number, 1)
    await create_topic(kafka, f"{topic}-billing", 4)
    billing = PublishStored(topic=f"{topic}-billing", inlet=Inlet.BILLING)
    assert (await runner.run(PUBLISH_STORED, billing)).run.counts["published"] == 1
    chosen = options(kafka, topic, others={"billing_topic": f"{topic}-billing"})
    async with running(database, chosen) as ingest:
        await ingest.until(
            lambda: (
                ingest.value("events_processed_total", topic=f"{topic}-billing", outcome="duplicate") == 1
            ),
            "it comes back as what it is",
        )
