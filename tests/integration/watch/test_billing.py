"""Rows of transactions and promotions, as the role progress keeps them: each once, whoever named it."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128

from projections.promotions import PROMOTIONS
from tests.support.billing import append_payments, bill, fold_rows
from tests.support.counts import Learner, course, nothing, only, user
from tests.support.money import LATER, PROMOTION, money_event
from tests.unit.projections.events import moment
from worker.contract.identity import foreign_object_id
from worker.contract.source import Source
from worker.storage.database import Database
from worker.storage.documents import event_document
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.projector import Projector


async def test_every_payment_of_a_learner_has_its_row(database: Database) -> None:
    learner = Learner(course(0), user(0))
    for number in range(25):
        learner.enrol(at=number, pays=f"t.{number}")
    await learner.store(database)
    await bill(database)
    await bill(database)
    rows = await database.billing_transactions.find({}).to_list(None)
    assert {row["transaction_id"] for row in rows} == {f"t.{number}" for number in range(25)}
    assert {row["rev"] for row in rows} == {1}
    assert await database.course_events.count_documents({"event_type": "payment_made"}) == 25


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_namings_of_a_transaction_the_earlier_stands_in_any_order(
    database: Database, order: tuple[int, int]
) -> None:
    learners = [Learner(course(n), user(n)).enrol(at=n, pays="bundle") for n in range(2)]
    for number in order:
        await learners[number].store(database)
        await bill(database)
    row = await only(database, "billing_transactions")
    assert (row["_id"], row["user_id"]) == (foreign_object_id("bundle"), user(0))
    assert (row["created_at"], row["event_id"]) == (moment(0), learners[0].events[0].event_id)
    assert row["without_effect"]["reasons"] == {"other_user": 1}


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
    await Learner(course(0), user(0)).enrol(pays="t.1").store(database)
    await append_payments(database)
    await fold_rows(database)
    assert await only(database, "billing_transactions") == row
    assert await database.analytics_queue.count_documents({}) == 0
    found = (await verify(database, quiescent=True)).finding_counts
    assert not {name for name in found if name.startswith(("billing", "payment", "revenue"))}


async def test_a_row_of_a_release_before_keeps_its_id_and_becomes_what_its_events_say(
    database: Database,
) -> None:
    learner = await Learner(course(0), user(0)).enrol(pays="t.1").store(database)
    row = {
        "_id": foreign_object_id("t.1"),
        "event_id": learner.events[0].event_id,
        "user_id": user(0),
        "course_id": course(0),
        "amount": Decimal128("19.90"),
        "currency": "EUR",
        "payment_method": "card",
        "status": "completed",
        "transaction_id": "t.1",
        "created_at": moment(0),
        "note": "the platform's",
    }
    await database.billing_transactions.insert_one(dict(row))
    assert (await verify(database, quiescent=True)).finding_counts["payment_missing"] == 1
    await append_payments(database)
    assert (await verify(database, quiescent=True)).finding_counts["billing_different"] == 1
    await fold_rows(database)
    now = await only(database, "billing_transactions")
    assert {name: now[name] for name in row} == row
    found = (await verify(database, quiescent=True)).finding_counts
    assert not {name for name in found if name.startswith(("billing", "payment"))}


async def test_a_promotion_that_is_over_is_not_made_again_and_not_missed(database: Database) -> None:
    async def created(**said: str) -> str:
        details = {"code": "SPRING", "discount_percentage": 20, "starts_at": "2024-03-02T00:00:00Z", **said}
        event = money_event("promotion_created", 0, promotion_id=str(PROMOTION), details=details)
        now = datetime.now(UTC)
        document = event_document(event, 1, Source("billing-events", 0, 0), now, None)
        await database.course_events.replace_one({"_id": document["_id"]}, document, upsert=True)
        clock, metrics = SystemClock(), Metrics(catalogue=database.catalogue)
        given = FoldDependencies(database, PROMOTIONS, clock, metrics, nothing, nothing, "test")
        await Projector(given).project({event.stream_id: 1})
        return event.stream_id

    await created(expires_at=LATER)
    assert await database.promotions.count_documents({}) == 0
    assert (await verify(database, quiescent=True)).ok
    await database.course_events.delete_many({})
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await created(expires_at=tomorrow)
    document = await only(database, "promotions")
    assert (document["_id"], document["discount_percentage"]) == (PROMOTION, 20)
    assert (await verify(database, quiescent=True)).ok
    indexes = await database.promotions.index_information()
    assert indexes["idx_promotions_ttl"]["expireAfterSeconds"] == 0
