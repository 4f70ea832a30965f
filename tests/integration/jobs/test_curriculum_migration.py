"""`curriculum-migration`: every learner of a course hears of its new lessons, once, however often it is killed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.oracle.progress import document_differences
from tests.oracle.stored import with_lists
from tests.support.ingest import running
from tests.support.jobs import parts
from tests.support.platform import BEGAN
from tests.support.progress import highest_versions, projector
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_id
from worker.contract.source import Source
from worker.devstack.servers.topics import create_topic
from worker.errors import Refused
from worker.ingest.enrich.course import known_course
from worker.ingest.enrich.stamps import Stamps
from worker.ingest.options import IngestOptions
from worker.jobs import curriculum_migration
from worker.jobs.context import Parts, Progress
from worker.jobs.curriculum_migration import CURRICULUM_MIGRATION, CurriculumMigration
from worker.jobs.runner import Result, Runner
from worker.settings import IngestSettings, KafkaSettings
from worker.storage.database import Database, Document
from worker.storage.documents import event_document
from worker.storage.lesson_lists import store_lists

LEARNERS = 30
COURSE = ObjectId()
LESSONS = [ObjectId() for _ in range(8)]
OLD, NEW = LESSONS[:6], [*LESSONS[1:6], *LESSONS[6:]]
ARGUMENTS = CurriculumMigration(course=str(COURSE), rate=0)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curriculum_migration, "_LEARNERS_PER_STEP", 7)
    monkeypatch.setattr(curriculum_migration, "_LEARNERS_PER_PAGE", 10)
    monkeypatch.setattr(curriculum_migration, "SETTLED_S", 0.05)


@pytest.fixture
async def given(database: Database, kafka: str) -> Parts:
    """A course with learners, and the topics; its version 2 is deployed, and nobody knows of it yet."""
    names = {each: f"{each}-{uuid4().hex[:8]}" for each in ("interactions", "worker")}
    for name in names.values():
        await create_topic(kafka, name, partitions=2)
    made = parts(database)
    settings = made.settings.model_copy(
        update={
            "kafka": KafkaSettings(bootstrap_servers=kafka, group_id=uuid4().hex, session_timeout_ms=4_000),
            "ingest": IngestSettings(
                topic=names["interactions"], worker_topic=names["worker"], lag_every_s=0.5
            ),
        }
    )
    await store(database, range(LEARNERS))
    await projector(database).project(await highest_versions(database))
    await database.courses.insert_one(course("2", NEW))
    return Parts(database, settings, made.clock, made.metrics)


def course(version: str, lessons: list[ObjectId]) -> Document:
    return {
        "_id": COURSE,
        "title": "Migrated",
        "slug": f"migrated-{COURSE}",
        "instructor_id": ObjectId(),
        "status": "published",
        "created_at": BEGAN,
        "publication": {"version": version},
        "curriculum": [{"_id": ObjectId(), "lessons": [{"_id": each} for each in lessons]}],
    }


def learner(number: int) -> ObjectId:
    return ObjectId(f"{number + 1:024x}")


async def store(database: Database, learners: range, *, ago: timedelta = timedelta(hours=1)) -> None:
    """Enrolled in version 1 and stored so long ago; the third of them has done all of it, others some lessons.

    Those of the last moments the second round tells once more where ingest has not stored their event yet.
    """
    known = known_course(course("1", OLD))
    assert known is not None
    assert known.ids is not None
    await store_lists(database, [known.ids], datetime.now(UTC))
    stamps, documents = Stamps({COURSE: known}), []
    for number in learners:
        about = {"user_id": learner(number), "course_id": COURSE}
        done = OLD if number == 2 else OLD[: number % 3]
        drafts: list[dict[str, Any]] = [{"event_type": "course_enrolled"}]
        drafts += [{"event_type": "complete", "lesson_id": each} for each in done]
        for version, draft in enumerate(drafts, start=1):
            sent = {**about, **draft, "event_id": uuid4(), "occurred_at": BEGAN.replace(minute=version)}
            event = decode_event(encode(sent), timestamp=datetime.now(UTC))
            assert isinstance(event, Event), event
            source, stamp = Source("events", 0, 100 * number + version), stamps.curriculum(event, version)
            documents.append(event_document(event, version, source, datetime.now(UTC) - ago, stamp))
    await database.course_events.insert_many(documents)


async def migrated(given: Parts, who: Callable[[Progress], None] | None = None) -> Result:
    runner = Runner(given, "anna") if who is None else Runner(given, "anna", who)
    return await runner.run(CURRICULUM_MIGRATION, ARGUMENTS)


async def ingested(given: Parts, published: int) -> list[Document]:
    """What has become of everything published; all of it is folded then."""
    chosen = IngestOptions.of(given.settings.kafka, given.settings.ingest)
    async with running(given.database, chosen) as ingest:
        ingest.topic = given.settings.ingest.topics.worker
        await ingest.until_processed(published)
    await projector(given.database).project(await highest_versions(given.database))
    assert await given.database.dead_letters.count_documents({}) == 0
    return await given.database.course_events.find({"event_type": "curriculum_migrated"}).to_list(None)


async def assert_right(database: Database) -> list[Document]:
    """Every record is what the second implementation makes of its events; returns them by learner."""
    records = await database.user_progress.find({}).sort("user_id", 1).to_list(None)
    for record in records:
        events = database.course_events.find({"stream_id": record["stream_id"]}).sort("version", 1)
        told = with_lists(await events.to_list(None), await database.lesson_lists.find({}).to_list(None))
        assert list(document_differences(record, told)) == []
    return records


def shown(record: Document) -> list[tuple[ObjectId, str]]:
    return [(each["lesson_id"], each["status"]) for each in record["lesson_progress"]]


async def test_every_learner_hears_once_of_the_lessons_and_keeps_what_was_done(given: Parts) -> None:
    before = await given.database.user_progress.find({}).sort("user_id", 1).to_list(None)
    result = await migrated(given)
    assert result.run.counts["published"] == LEARNERS
    events = await ingested(given, LEARNERS)
    assert {each["stream_id"] for each in events} == {
        stream_id(COURSE, learner(number)) for number in range(LEARNERS)
    }
    assert len(events) == LEARNERS
    assert await given.database.user_interactions.count_documents({}) == 0

    records = await assert_right(given.database)
    first, second, third = records[:3]
    assert shown(first) == [(lesson, "not_started") for lesson in NEW]
    assert shown(second) == [*((lesson, "not_started") for lesson in NEW), (OLD[0], "completed")]
    assert second["progress"] == {
        **before[1]["progress"],
        "percentage": 0.0,
        "completed_lessons": 0,
        "total_lessons": 7,
    }
    assert third["progress"]["percentage"] == 71.42
    assert [each["milestones"] for each in records] == [each["milestones"] for each in before]
    [row] = await given.database.audit.find({"command": "curriculum-migration"}).to_list(None)
    assert (row["status"], row["outcome"]["published"]) == ("done", LEARNERS)


@pytest.mark.slow
async def test_a_second_start_changes_nothing_until_the_course_is_revised_again(given: Parts) -> None:
    await migrated(given)
    await ingested(given, LEARNERS)
    again, once_more = await migrated(given), await migrated(given)
    assert again.outcome["already"] is once_more.outcome["already"] is True
    assert "published" not in again.run.counts

    await given.database.courses.replace_one({"_id": COURSE}, course("1", OLD))
    back = await migrated(given)
    assert back.run.counts["published"] == LEARNERS
    assert len(await ingested(given, LEARNERS)) == 2 * LEARNERS
    records = await assert_right(given.database)
    assert shown(records[1])[0] == (OLD[0], "completed")
    assert records[2]["progress"]["percentage"] == 100.0


@pytest.mark.parametrize("step", [2, 4, 6, 8])
async def test_killed_and_started_again_nobody_is_left_out_or_told_twice(given: Parts, step: int) -> None:
    seen: list[Progress] = []

    def die(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == step:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await migrated(given, die)
    first = await given.database.job_runs.find_one({})
    assert first is not None
    result = await migrated(given)
    assert result.former is not None
    published = result.run.counts["published"]
    assert LEARNERS <= published <= LEARNERS + 7
    assert len(await ingested(given, published)) == LEARNERS
    await assert_right(given.database)


async def test_who_enrols_meanwhile_with_the_old_lessons_hears_of_the_new_ones(given: Parts) -> None:
    enrolled: list[asyncio.Task[None]] = []

    def enrol(progress: Progress) -> None:
        if progress.done >= LEARNERS // 2 and not enrolled:
            # Their names come before those that are still to be walked.
            enrolled.append(asyncio.create_task(store(given.database, range(900, 903), ago=timedelta())))

    result = await migrated(given, enrol)
    await enrolled[0]
    await ingested(given, result.run.counts["published"])
    told = await given.database.course_events.distinct("stream_id", {"event_type": "curriculum_migrated"})
    assert len(told) == LEARNERS + 3
    await assert_right(given.database)


async def test_a_course_that_is_revised_while_it_is_migrated_is_migrated_to_the_last_version(
    given: Parts,
) -> None:
    def revise(progress: Progress) -> None:
        if progress.done >= LEARNERS // 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await migrated(given, revise)
    await given.database.courses.replace_one({"_id": COURSE}, course("3", LESSONS))
    result = await migrated(given)
    assert (result.outcome["version"], result.outcome["lessons"]) == ("3", len(LESSONS))
    await ingested(given, result.run.counts["published"])
    for record in await assert_right(given.database):
        assert [lesson for lesson, _ in shown(record)] == LESSONS


@pytest.mark.parametrize("modules", [[], [{"lessons": [{"title": "no id"}]}], "text"])
async def test_a_course_without_a_list_of_lessons_is_refused(given: Parts, modules: Any) -> None:
    await given.database.courses.update_one(
        {"_id": COURSE}, {"$set": {"curriculum": modules}}, bypass_document_validation=True
    )
    with pytest.raises(Refused, match="names no lessons"):
        await migrated(given)
    with pytest.raises(Refused, match="there is no document"):
        await Runner(given, "anna").run(CURRICULUM_MIGRATION, CurriculumMigration(course=str(ObjectId())))


async def test_a_dry_run_counts_who_came_a_moment_ago_once(
    given: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curriculum_migration, "SETTLED_S", 60.0)
    await store(given.database, range(900, 903), ago=timedelta())
    result = await Runner(given, "anna").run(CURRICULUM_MIGRATION, ARGUMENTS, dry_run=True)
    assert result.run.counts["published"] == LEARNERS + 3


async def test_a_dry_run_counts_and_publishes_nothing(given: Parts) -> None:
    result = await Runner(given, "anna").run(CURRICULUM_MIGRATION, ARGUMENTS, dry_run=True)
    assert result.run.counts["published"] == LEARNERS
    assert (await migrated(given)).run.counts["published"] == LEARNERS
    assert len(await ingested(given, LEARNERS)) == LEARNERS
