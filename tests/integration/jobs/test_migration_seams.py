"""`curriculum-migration` beside what happens to a course and its learners meanwhile, and beside itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.integration.jobs.test_curriculum_migration import (  # noqa: F401  # fixtures
    COURSE,
    LEARNERS,
    LESSONS,
    NEW,
    OLD,
    assert_right,
    course,
    given,
    ingested,
    learner,
    shown,
    small_steps,
)
from tests.support.counts import counting, dirty_keys
from tests.support.ingest import running as running_ingest
from tests.support.progress import highest_versions, projector
from tests.support.progress import running as running_progress
from tests.support.settings import changed
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_id, stream_object_id
from worker.contract.source import Source
from worker.ingest.options import IngestOptions
from worker.jobs.context import Parts, Progress
from worker.jobs.curriculum_migration import CURRICULUM_MIGRATION, CurriculumMigration
from worker.jobs.errors import Held
from worker.jobs.runner import Result, Runner
from worker.storage.database import Database, Document
from worker.storage.documents import event_document


def _unseen(_progress: Progress) -> None:
    """Nobody looks."""


async def migrated(
    parts: Parts, deployment: str | None = None, observe: Callable[[Progress], None] = _unseen
) -> Result:
    """One start, for a deployment or by hand."""
    arguments = CurriculumMigration(course=str(COURSE), rate=0, deployment=deployment)
    return await Runner(parts, "anna", observe).run(CURRICULUM_MIGRATION, arguments)


async def migrated_in_part(parts: Parts, deployment: str | None = None) -> int:
    """One start that is killed when half of the learners have been told; returns how many."""
    told: list[int] = []

    def die(progress: Progress) -> None:
        if progress.done >= LEARNERS // 2:
            told.append(progress.counts["published"])
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await migrated(parts, deployment, die)
    return told[0]


async def revised(database: Database, version: str, lessons: list[ObjectId]) -> None:
    await database.courses.replace_one({"_id": COURSE}, course(version, lessons))


async def now_at(parts: Parts, version: str, lessons: list[ObjectId]) -> None:
    """The course gets this version, and everybody follows."""
    await revised(parts.database, version, lessons)
    await ingested(parts, (await migrated(parts)).run.counts["published"])


class Meanwhile:
    """Has something happen between two steps of a run, once half of the learners are told: a gate that stays open."""

    def __init__(self, act: Callable[[], Awaitable[None]]) -> None:
        self._act, self._due = act, False
        self.acted = False

    def observe(self, progress: Progress) -> None:
        self._due = progress.done >= LEARNERS // 2

    async def closed(self) -> str | None:
        if self._due and not self.acted:
            self.acted = True
            await self._act()
        return None


async def all_show(database: Database, lessons: list[ObjectId]) -> list[Document]:
    """Every learner has these lessons, in their order; what was done in others stands behind them."""
    records = await assert_right(database)
    for record in records:
        assert [lesson for lesson, _ in shown(record)][: len(lessons)] == lessons
        assert record["progress"]["total_lessons"] == len(lessons)
    return records


@pytest.mark.slow
async def test_a_version_that_is_taken_back_while_its_migration_runs_is_taken_back_for_all(
    given: Parts,  # noqa: F811
) -> None:
    await now_at(given, "1", OLD)
    await revised(given.database, "2", NEW)
    meanwhile = Meanwhile(lambda: revised(given.database, "1", OLD))
    result = await migrated(replace(given, gate=meanwhile), observe=meanwhile.observe)
    assert meanwhile.acted
    assert (result.outcome["version"], result.outcome["already"]) == ("1", False)
    published = result.run.counts["published"]
    # Who had not heard of version 2 by then never does.
    assert LEARNERS * 1.5 <= published < LEARNERS * 2
    await ingested(given, published)
    await all_show(given.database, OLD)


@pytest.mark.slow
async def test_a_version_that_is_taken_back_by_a_run_of_its_own_is_taken_back_for_all(
    given: Parts,  # noqa: F811
) -> None:
    await now_at(given, "1", OLD)
    await revised(given.database, "2", NEW)
    told = await migrated_in_part(given, "deployment of 2")
    await revised(given.database, "1", OLD)
    back = await migrated(given, "rollback to 1")
    assert back.outcome["already"] is False
    assert back.run.counts["published"] == LEARNERS
    await ingested(given, told + LEARNERS)
    await all_show(given.database, OLD)


async def test_a_run_that_goes_on_after_another_one_has_the_last_word_about_the_version_of_now(
    given: Parts,  # noqa: F811
) -> None:
    told = await migrated_in_part(given)
    await revised(given.database, "1", OLD)
    await migrated(given, "rollback to 1")
    await revised(given.database, "2", NEW)
    again = await migrated(given)
    assert again.former is not None
    assert again.outcome["already"] is False
    await ingested(given, LEARNERS + again.run.counts["published"])
    assert again.run.counts["published"] == told + LEARNERS
    await all_show(given.database, NEW)


async def test_of_two_versions_in_quick_order_only_the_last_counts(given: Parts) -> None:  # noqa: F811
    told = await migrated_in_part(given, "deployment of 2")
    await revised(given.database, "3", LESSONS)
    last = await migrated(given, "deployment of 3")
    first = await migrated(given, "deployment of 2")
    assert (last.outcome["version"], last.outcome["already"]) == ("3", False)
    assert (first.outcome["version"], first.outcome["already"]) == ("3", True)
    assert first.outcome["at"] == last.outcome["at"]
    await ingested(given, told + LEARNERS)
    await all_show(given.database, LESSONS)


async def test_started_twice_at_once_everybody_is_told_once(given: Parts) -> None:  # noqa: F811
    jobs = changed(given.settings.jobs, lease_s=2.0)
    hasty = replace(given, settings=given.settings.model_copy(update={"jobs": jobs}))
    ended = await asyncio.gather(migrated(hasty), migrated(hasty), return_exceptions=True)
    # The other one was told who is at it, or found it done.
    assert all(isinstance(each, Result | Held) for each in ended)
    published = [each.run.counts.get("published", 0) for each in ended if isinstance(each, Result)]
    assert sum(published) == LEARNERS
    assert len(await ingested(given, LEARNERS)) == LEARNERS
    await all_show(given.database, NEW)


@pytest.mark.slow
async def test_nobody_is_notified_twice_and_completed_stays_completed(given: Parts) -> None:  # noqa: F811
    database = given.database
    everybody = {stream_object_id(stream_id(COURSE, learner(number))) for number in range(LEARNERS)}

    async def rows() -> list[Document]:
        async with counting(database) as counter:
            await counter.count(dirty_keys(everybody))
        found = await database.notifications.find({"course_id": COURSE}).sort("_id", 1).to_list(None)
        return [{name: row[name] for name in ("_id", "kind", "stream_id")} for row in found]

    before = await rows()
    finisher = stream_id(COURSE, learner(2))
    assert {row["kind"] for row in before if row["stream_id"] == finisher} == {"welcome", "completion"}
    await now_at(given, "2", NEW)
    assert await rows() == before
    # The finisher does what is new: the course was completed before.
    await do(database, learner(2), NEW[-2:])
    record = await database.user_progress.find_one({"stream_id": finisher})
    assert record is not None
    assert record["progress"]["percentage"] == 100.0
    assert await rows() == before
    await now_at(given, "1", OLD)
    assert await rows() == before


async def do(database: Database, user: ObjectId, lessons: list[ObjectId]) -> None:
    """The learner completes these lessons now, one after the other."""
    stream = stream_id(COURSE, user)
    head = (await highest_versions(database))[stream]
    for place, lesson in enumerate(lessons, start=1):
        fields = {"event_type": "complete", "user_id": user, "course_id": COURSE, "lesson_id": lesson}
        now = datetime.now(UTC)
        event = decode_event(encode({**fields, "event_id": uuid4(), "occurred_at": now}), timestamp=now)
        assert isinstance(event, Event), event
        source = Source("events", 1, place)
        await database.course_events.insert_one(event_document(event, head + place, source, now, None))
    await projector(database).project({stream: head + len(lessons)})


@pytest.mark.slow
async def test_no_more_than_a_step_is_in_front_of_live_work(given: Parts) -> None:  # noqa: F811
    looks: list[tuple[int, asyncio.Future[int]]] = []
    follows = {"progress.total_lessons": len(NEW)}

    def look(progress: Progress) -> None:
        following = given.database.user_progress.count_documents(follows)
        looks.append((progress.counts.get("published", 0), asyncio.ensure_future(following)))

    chosen = IngestOptions.of(given.settings.kafka, given.settings.ingest)
    async with running_progress(given.database) as watcher, running_ingest(given.database, chosen):
        await watcher.until_following()
        result = await migrated(given, observe=look)
        assert result.run.counts["published"] == LEARNERS
        assert len({published for published, _ in looks}) > LEARNERS // 8
        for published, following in looks:
            assert await following >= int(0.9 * published)
    await all_show(given.database, NEW)
