"""`due-migrations`: what was deployed or taken back is migrated once for each time, and nothing else is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.content.versions.projection import COURSE_VERSIONS
from tests.integration.jobs.test_curriculum_migration import (  # noqa: F401  # fixtures
    COURSE,
    LEARNERS,
    OLD,
    assert_right,
    course,
    given,
    ingested,
    small_steps,
)
from tests.support.courses import CREATED, sent, story, version
from worker.jobs import due_migrations
from worker.jobs.catalogue import JOBS
from worker.jobs.context import Parts
from worker.jobs.due_migrations import DUE_MIGRATIONS
from worker.jobs.job import NoArguments
from worker.jobs.runner import Result, Runner
from worker.storage.database import Document


@pytest.fixture(autouse=True)
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story of the tests' course is some years old."""
    monkeypatch.setattr(due_migrations, "_LOOKS_BACK", timedelta(days=36_500))


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


async def happened(parts: Parts, steps: int) -> None:
    """The course's history after so many steps of its story."""
    document: dict[str, Any] = COURSE_VERSIONS.refold(story(STORY[:steps]), None, "live")
    history = {**document, "_id": COURSE, "rev": 1, "entity_id": COURSE, "recorded_at": datetime.now(UTC)}
    histories = parts.database.collection("version_history")
    await histories.replace_one({"_id": COURSE}, history, upsert=True, bypass_document_validation=True)


async def looked(parts: Parts) -> Result:
    return await Runner(parts, "scheduler").run(DUE_MIGRATIONS, NoArguments())


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


async def test_a_course_that_cannot_be_migrated_is_named_and_holds_nothing_up(given: Parts) -> None:  # noqa: F811
    await given.database.courses.delete_one({"_id": COURSE})
    await happened(given, 5)
    result = await looked(given)
    assert result.outcome == {"refused": [str(COURSE)]}
    assert DUE_MIGRATIONS.differs(result.outcome)
    assert DUE_MIGRATIONS in JOBS
