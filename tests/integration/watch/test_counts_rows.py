"""Outbox rows of counted learners: each once, whoever counts and however often."""

from datetime import UTC, timedelta
from typing import Any

import pytest

from tests.support.counts import (
    Learner,
    add_platform,
    assert_counted,
    count,
    counting,
    course,
    dirty_keys,
    only,
    user,
)
from tests.unit.projections.events import moment
from worker.storage.database import Database, Document
from worker.storage.outbox import LATE
from worker.telemetry.metrics import Metrics
from worker.watch.sums.attempt import ids_of


async def test_milestones_that_a_replay_met_first_are_suppressed(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database, by="replay")
    await count(database, [learner])
    await learner.finish().store(database)
    rows: dict[tuple[Any, str], Document] = {}
    for record_by in ("replay", "live"):
        finisher = Learner(course(1), user(len(rows))).enrol().finish()
        await finisher.store(database, by=record_by)
        await count(database, [finisher])
        async for row in database.notifications.find(
            {"user_id": finisher.user, "course_id": finisher.course}
        ):
            rows[record_by, row["kind"]] = row
    assert {key: row["status"] for key, row in rows.items()} == {
        ("replay", "welcome"): "suppressed",
        ("replay", "completion"): "suppressed",
        ("live", "welcome"): "pending",
        ("live", "completion"): "pending",
    }
    assert rows["live", "completion"]["data"] == {"percentage": 100.0, "reached_at": moment(102)}


async def test_a_learner_who_enrols_and_finishes_at_once_is_not_welcomed_with_a_hundred_percent(
    database: Database,
) -> None:
    await count(database, [await Learner(course(0), user(0)).enrol().finish().store(database)])
    said = {row["kind"]: row["data"]["percentage"] async for row in database.notifications.find({})}
    assert said == {"welcome": 0.0, "completion": 100.0}


async def test_milestones_older_than_the_setting_are_suppressed_and_counted(database: Database) -> None:
    """By the server's time: how old the story of the tests is, it knows."""
    hello = await database.client.admin.command("hello")
    age = hello["localTime"].replace(tzinfo=UTC) - moment(0)
    learner = await Learner(course(0), user(0)).enrol(at=-3_600).finish(at=3_600).store(database)
    metrics = Metrics()
    async with counting(database, notify_within=age, metrics=metrics) as counter:
        await counter.count(dirty_keys(frozenset({learner.identity})))
    rows = {row["kind"]: row async for row in database.notifications.find({})}
    assert {kind: (row["status"], row["last_error"]) for kind, row in rows.items()} == {
        "welcome": ("suppressed", LATE),
        "completion": ("pending", None),
    }
    suppressed = {"kind": "welcome", "outcome": "suppressed"}
    assert metrics.registry.get_sample_value("sevenp_worker_notifications_total", suppressed) == 1
    assert (
        rows["completion"]["created_at"]
        == rows["completion"]["due_at"]
        > hello["localTime"].replace(tzinfo=UTC)
    )


async def test_a_row_that_is_there_is_not_counted_as_suppressed(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await database.user_progress_projections.delete_many({})
    metrics = Metrics()
    async with counting(database, notify_within=timedelta(0), metrics=metrics) as counter:
        await counter.count(dirty_keys(frozenset({learner.identity})))
    assert (await only(database, "notifications"))["status"] == "pending"
    suppressed = {"kind": "welcome", "outcome": "suppressed"}
    assert metrics.registry.get_sample_value("sevenp_worker_notifications_total", suppressed) == 0


async def test_a_row_that_was_sent_is_not_opened_again_when_projections_are_lost(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await database.notifications.update_many({}, {"$set": {"status": "sent", "attempts": 1}})
    await database.user_progress_projections.delete_many({})
    await count(database, [learner])
    row = await only(database, "notifications")
    assert (row["status"], row["attempts"]) == ("sent", 1)


@pytest.mark.parametrize("catching_up", [False, True])
async def test_a_record_folded_again_is_counted_although_its_revision_was_counted_before(
    database: Database, catching_up: bool
) -> None:
    await add_platform(database, 1, 1)
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await database.user_progress.delete_many({})
    learner.rev = 0
    await learner.finish().store(database)
    assert learner.rev == (await only(database, "user_progress_projections"))["source_rev"]
    if catching_up:
        async with counting(database) as counter:
            pages = [page async for page in counter.missed()]
        learners = [ids_of("learner", page) for page in pages]
        assert [page for page in learners if page] == [{learner.identity}]
    await count(database, [learner])
    await assert_counted(database)
