"""Outbox and billing rows of counted learners: each once, whoever counts and however often."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128

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


@pytest.mark.parametrize("at_once", [True, False])
async def test_every_payment_of_a_learner_has_its_row_whether_they_waited_or_came_one_by_one(
    database: Database, at_once: bool
) -> None:
    learner = Learner(course(0), user(0))
    for number in range(25):
        learner.enrol(at=number, pays=f"t.{number}")
        if not at_once:
            await count(database, [await learner.store(database)])
    await count(database, [await learner.store(database)])
    rows = await database.billing_transactions.find({}).to_list(None)
    assert {row["transaction_id"] for row in rows} == {f"t.{number}" for number in range(25)}


async def test_payments_that_an_older_version_of_the_code_let_go_get_their_rows(database: Database) -> None:
    learner = Learner(course(0), user(0))
    for number in range(25):
        learner.enrol(at=number, pays=f"t.{number}")
    await count(database, [await learner.store(database)])
    await database.billing_transactions.delete_many({"transaction_id": {"$in": ["t.1", "t.2"]}})
    older = {"$set": {"counts_version": 1}, "$unset": {"payments": 1}}
    await database.user_progress_projections.update_one({}, older)
    await count(database, [learner])
    assert await database.billing_transactions.count_documents({}) == 25


async def test_a_row_that_was_sent_is_not_opened_again_when_projections_are_lost(database: Database) -> None:
    learner = await Learner(course(0), user(0)).enrol().store(database)
    await count(database, [learner])
    await database.notifications.update_many({}, {"$set": {"status": "sent", "attempts": 1}})
    await database.user_progress_projections.delete_many({})
    await count(database, [learner])
    row = await only(database, "notifications")
    assert (row["status"], row["attempts"]) == ("sent", 1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_namings_of_a_transaction_the_later_stands_in_any_order(
    database: Database, order: tuple[int, int]
) -> None:
    learners = [Learner(course(n), user(n)).enrol(at=n, pays="bundle") for n in range(2)]
    for number in order:
        await learners[number].store(database)
        await count(database, [learners[number]])
        await database.billing_transactions.update_many({}, {"$set": {"status": "refunded", "note": "x"}})
    row = await only(database, "billing_transactions")
    assert (row["user_id"], row["created_at"], row["status"]) == (user(1), moment(1), "refunded")
    assert row["note"] == "x"


async def test_a_billing_row_the_platform_wrote_stays_as_it_is(database: Database) -> None:
    row = {
        "_id": ObjectId(),
        "user_id": user(7),
        "course_id": course(7),
        "amount": Decimal128("1"),
        "currency": "USD",
        "payment_method": None,
        "status": "pending",
        "transaction_id": "t.1",
        "created_at": moment(-9),
    }
    await database.billing_transactions.insert_one(dict(row))
    await count(database, [await Learner(course(0), user(0)).enrol(pays="t.1").store(database)])
    assert await only(database, "billing_transactions") == row


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
