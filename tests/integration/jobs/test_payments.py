"""The job `payments`: what enrolments of releases before lack is stored, wherever it was killed, and once."""

from bson.decimal128 import Decimal128

from tests.support.billing import fold_rows, row_of_before
from tests.support.counts import Learner, course, user
from tests.support.jobs import runner
from worker.jobs.payments import PAYMENTS, Payments
from worker.storage.database import Database, Document


async def mark(database: Database, transaction: str, status: str) -> None:
    """The row of a release before, as the platform has marked it since."""
    named = {"event_data.details.payment.transaction_id": transaction}
    enrolment = await database.course_events.find_one({**named, "event_type": "course_enrolled"})
    assert enrolment is not None
    await database.billing_transactions.insert_one(row_of_before(enrolment, status))


async def rows(database: Database) -> dict[str, Document]:
    return {row["transaction_id"]: row async for row in database.billing_transactions.find({})}


async def test_rows_of_before_become_what_their_events_say_and_none_is_lost(database: Database) -> None:
    statuses = {"t.0": "completed", "t.1": "refunded", "t.2": "pending", "t.3": None}
    for number, (transaction, status) in enumerate(statuses.items()):
        await Learner(course(0), user(number)).enrol(pays=transaction).store(database)
        if status is not None:
            await mark(database, transaction, status)
    before = await rows(database)

    dry = await runner(database).run(PAYMENTS, Payments(), dry_run=True)
    assert (dry.run.counts["enrolments"], dry.run.counts["stored"]) == (4, 0)
    first = await runner(database).run(PAYMENTS, Payments())
    assert (first.run.counts["stored"], first.run.outcome) == (4, {"left": ["t.2"]})
    await fold_rows(database)
    again = await runner(database).run(PAYMENTS, Payments())
    assert again.run.counts["stored"] == 0

    after = await rows(database)
    assert after["t.2"] == before["t.2"]
    assert {name: after[name]["status"] for name in statuses} == {
        "t.0": "completed",
        "t.1": "refunded",
        "t.2": "pending",
        "t.3": "completed",
    }
    assert after["t.1"]["refunded_amount"] == Decimal128("19.90")
    kept = {name: after["t.0"][name] for name in before["t.0"]}
    assert kept == before["t.0"]


async def test_a_refund_of_before_is_not_lost_by_a_kill_behind_it(database: Database) -> None:
    """It is stored before its payment: alone it makes no row, and the next attempt finds the platform's word."""
    await Learner(course(0), user(0)).enrol(pays="t.0").store(database)
    await mark(database, "t.0", "refunded")
    await runner(database).run(PAYMENTS, Payments())
    await database.course_events.delete_many({"event_type": "payment_made"})
    await fold_rows(database)
    assert "stream_id" not in (await rows(database))["t.0"]
    assert await database.analytics_queue.count_documents({}) == 0
    await runner(database).run(PAYMENTS, Payments())
    await fold_rows(database)
    assert (await rows(database))["t.0"]["status"] == "refunded"
