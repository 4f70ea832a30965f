"""Outbox and billing rows of counted learners: each once, whoever counts and however often."""

from typing import Any

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128

from projections.counts import COUNTS_VERSION
from tests.integration.watch.counts_kit import (
    Learner,
    add_platform,
    assert_counted,
    count,
    course,
    only,
    user,
)
from tests.unit.projections.events import moment
from worker.storage.database import Database, Document
from worker.watch.counts_catch_up import missed


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
async def test_a_record_folded_anew_is_counted_although_its_revision_was_counted_before(
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
        pages = [page async for page in missed(database, COUNTS_VERSION)]
        assert [page.learners for page in pages if page.learners] == [frozenset({learner.identity})]
    await count(database, [learner])
    await assert_counted(database)
