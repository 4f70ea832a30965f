"""`due-migrations`: what was deployed or taken back is migrated once for each time, and nothing else is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.content.versions.projection import COURSE_VERSIONS
from tests.integration.jobs.test_curriculum_migration import (  # noqa: F401  # fixtures
    COURSE,
    LEARNERS,
    LESSONS,
    OLD,
    assert_right,
    course,
    given,
    ingested,
    small_steps,
)
from tests.integration.jobs.test_migration_seams import Meanwhile
from tests.support.courses import CREATED, sent, story, version
from tests.support.settings import changed
from worker.jobs import due_migrations
from worker.jobs.catalogue import JOBS
from worker.jobs.context import Parts
from worker.jobs.curriculum_migration import CURRICULUM_MIGRATION, CurriculumMigration
from worker.jobs.due_migrations import DUE_MIGRATIONS
from worker.jobs.job import NoArguments
from worker.jobs.runner import Result, Runner
from worker.storage.database import Document


@pytest.fixture(autouse=True)
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story of the tests' course is some years old."""
    monkeypatch.setattr(due_migrations, "looks_back", lambda _: timedelta(days=36_500))


def created(at: float, label: str, *, migrates: bool) -> Document:
    return sent("course_version_created", at, **{**version(label), "migration_required": migrates})


def deployed(at: float, label: str) -> Document:
    return sent("course_version_deployed", at, version=label)


STORY = [
    sent("course_created", 0, **CREATED),
    created(1, "1", migrates=False),
    deployed(2, "1"),
    created(3, "2", migrates=True),
    deployed(4, "2"),
    sent("course_version_rolled_back", 5, version="2", rollback_version="1"),
]


async def happened(parts: Parts, steps: int, more: Sequence[Document] = ()) -> None:
    """The course's history after so many steps of its story, and some more."""
    document: dict[str, Any] = COURSE_VERSIONS.refold(story([*STORY[:steps], *more]), None, "live")
    history = {**document, "_id": COURSE, "rev": 1, "entity_id": COURSE, "recorded_at": datetime.now(UTC)}
    histories = parts.database.collection("version_history")
    await histories.replace_one({"_id": COURSE}, history, upsert=True, bypass_document_validation=True)


async def looked(parts: Parts) -> Result:
    return await Runner(parts, "scheduler").run(DUE_MIGRATIONS, NoArguments())


@pytest.mark.slow
async def test_each_deployment_and_rollback_that_asks_for_it_is_migrated_once(given: Parts) -> None:  # noqa: F811
    await happened(given, 3)
    assert (await looked(given)).run.counts == {}  # version 1 asks for nothing

    await happened(given, 5)
    assert (await looked(given)).run.counts["migrated"] == 1
    assert (await looked(given)).run.counts == {}
    assert len(await ingested(given, LEARNERS)) == LEARNERS

    await given.database.courses.replace_one({"_id": COURSE}, course("1", OLD))
    await happened(given, 6)  # back to what learners had before they were moved
    assert (await looked(given)).run.counts["migrated"] == 1
    assert (await looked(given)).run.counts == {}
    assert len(await ingested(given, LEARNERS)) == 2 * LEARNERS
    assert [each["progress"]["total_lessons"] for each in await assert_right(given.database)] == [
        6
    ] * LEARNERS
    rows = await given.database.audit.find({"command": "curriculum-migration"}).to_list(None)
    assert [row["status"] for row in rows] == ["done", "done"]


async def runs(parts: Parts) -> list[Document]:
    """Of migrations, in their order: what they were started for, and how they ended."""
    found = parts.database.job_runs.find({"job": "curriculum-migration"}).sort("started_at", 1)
    return [{**each["arguments"], **each["outcome"]} for each in await found.to_list(None)]


async def test_of_two_deployments_in_quick_order_the_last_one_alone_is_migrated(
    given: Parts,  # noqa: F811
) -> None:
    last = deployed(4.6, "3")
    await happened(given, 5, [created(4.5, "3", migrates=True), last])
    await given.database.courses.replace_one({"_id": COURSE}, course("3", LESSONS))
    assert (await looked(given)).run.counts["migrated"] == 1
    assert (await looked(given)).run.counts == {}
    [run] = await runs(given)
    assert (run["deployment"], run["version"]) == (last["event_id"], "3")
    assert len(await ingested(given, LEARNERS)) == LEARNERS
    assert {each["progress"]["total_lessons"] for each in await assert_right(given.database)} == {8}


async def test_a_deployment_while_another_one_is_migrated_waits_and_finds_it_done(
    given: Parts,  # noqa: F811
) -> None:
    quick = changed(given.settings.jobs, lease_s=2.0, renewals_per_lease=10.0)
    hasty = replace(given, settings=given.settings.model_copy(update={"jobs": quick}))
    held: list[Result] = []

    async def deploy() -> None:
        await happened(given, 5, [created(4.5, "3", migrates=True), deployed(4.6, "3")])
        await given.database.courses.replace_one({"_id": COURSE}, course("3", LESSONS))
        held.append(await looked(hasty))

    meanwhile = Meanwhile(deploy)
    first = CurriculumMigration(course=str(COURSE), deployment="of 2", rate=0)
    runner = Runner(replace(hasty, gate=meanwhile), "anna", meanwhile.observe)
    result = await runner.run(CURRICULUM_MIGRATION, first)
    assert [each.run.counts["held"] for each in held] == [1]
    assert (result.outcome["version"], result.outcome["already"]) == ("3", False)
    assert (await looked(given)).run.counts["migrated"] == 1
    assert (await looked(given)).run.counts == {}
    assert [each["already"] for each in await runs(given)] == [False, True]
    await ingested(given, result.run.counts["published"])
    assert {each["progress"]["total_lessons"] for each in await assert_right(given.database)} == {8}


async def test_a_course_that_cannot_be_migrated_is_named_and_holds_nothing_up(given: Parts) -> None:  # noqa: F811
    await given.database.courses.delete_one({"_id": COURSE})
    await happened(given, 5)
    result = await looked(given)
    assert result.outcome == {"refused": [str(COURSE)]}
    assert DUE_MIGRATIONS.differs(result.outcome)
    assert DUE_MIGRATIONS in JOBS
