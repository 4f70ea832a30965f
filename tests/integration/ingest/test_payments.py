"""The payment that an enrolment names is stored with it as an event of its own, and counts as no record."""

from typing import Any

import pytest
from bson.decimal128 import Decimal128

from tests.support.billing import fold_rows, row_of_before
from tests.support.counts import only
from tests.support.ingest import event, options, records, running, send, with_kafka
from worker.contract.enrolment_payments import payment_event_id
from worker.contract.identity import foreign_object_id, stream_slot
from worker.contract.reserved import CANARY_COURSE, CANARY_LESSON
from worker.storage.database import Database

PAYMENT = {"transaction_id": "txn_1", "amount": "19.90", "currency": "EUR", "method": "card"}


def enrolment(**fields: Any) -> dict[str, Any]:
    details = {"total_lessons": 3, "payment": PAYMENT}
    enrolled = event(event_type="course_enrolled", **{"details": details, **fields})
    return {name: each for name, each in enrolled.items() if name not in ("lesson_id", "value")}


async def test_a_payment_is_stored_once_whatever_becomes_of_other_records(
    database: Database, kafka: str, topic: str
) -> None:
    first = enrolment()
    contradicted = {**first, "details": {"payment": {**PAYMENT, "transaction_id": "txn_2"}}}
    unpaid = enrolment(details={"total_lessons": 3})
    of_the_canary = enrolment(course_id=str(CANARY_COURSE), user_id=str(CANARY_LESSON))
    paid_later = {**unpaid, "details": {"total_lessons": 3, "payment": PAYMENT}}
    sent = [first, first, contradicted, unpaid, paid_later, of_the_canary]
    await send(kafka, topic, records(sent, partition=0))
    async with running(database, options(kafka, topic)) as worker:
        await worker.until_processed(len(sent))
        assert (worker.outcome("stored"), worker.outcome("duplicate"), worker.outcome("conflict")) == (
            3,
            1,
            2,
        )

    stream = f"transaction_{foreign_object_id('txn_1')}"
    [payment] = await database.course_events.find({"event_type": "payment_made"}).to_list(None)
    [source] = await database.course_events.distinct("metadata.source", {"version": 1, "stream_id": stream})
    assert (payment["stream_id"], payment["slot"]) == (stream, stream_slot(stream))
    assert (source["topic"], source["offset"], source["index"]) == (topic, 0, 1)
    assert payment["event_data"]["details"] == {**PAYMENT, "enrolment_id": first["event_id"]}
    assert await database.user_interactions.count_documents({}) == 3
    assert await database.dead_letters.count_documents({}) == 2


@pytest.mark.slow
async def test_a_payment_follows_though_its_worker_was_killed_behind_the_enrolment(
    database: Database, kafka: str, topic: str
) -> None:
    await send(kafka, topic, records([enrolment()], partition=0))
    async with running(database, options(kafka, topic)) as worker:
        await worker.until_processed(1)
    await database.course_events.delete_one({"event_type": "payment_made"})
    enrolled = await only(database, "course_events")

    async with running(database, with_kafka(options(kafka, topic), group_id=f"again-{topic}")) as worker:
        await worker.until_processed(1)
        assert worker.outcome("redelivered") == 1
    again = await database.course_events.find_one({"event_type": "payment_made"}) or {}
    assert again["_id"] == payment_event_id(enrolled["_id"])
    assert await database.course_events.count_documents({}) == 2


@pytest.mark.slow
async def test_what_the_platform_made_of_a_payment_of_before_is_heeded_when_its_enrolment_comes_again(
    database: Database, kafka: str, topic: str
) -> None:
    """A `reingest`, or a worker that begins anew, before the job `payments` has run: no refund becomes a payment."""
    marked = {"txn_1": "refunded", "txn_2": "failed", "txn_3": "completed"}
    paid = [
        enrolment(details={"payment": {**PAYMENT, "transaction_id": each}}, user_id=f"b{number:023x}")
        for number, each in enumerate(marked)
    ]
    await send(kafka, topic, records(paid, partition=0))
    async with running(database, options(kafka, topic)) as worker:
        await worker.until_processed(3)
    # As a release before left it: enrolments without events of their payments, and a row for each.
    await database.course_events.delete_many({"event_type": "payment_made"})
    for transaction, status in marked.items():
        [enrolled] = await database.course_events.find(
            {"event_data.details.payment.transaction_id": transaction}
        ).to_list(None)
        await database.billing_transactions.insert_one(row_of_before(enrolled, status))

    async with running(database, with_kafka(options(kafka, topic), group_id=f"again-{topic}")) as worker:
        await worker.until_processed(3)
        assert worker.outcome("redelivered") == 3
    await fold_rows(database)
    rows = {row["transaction_id"]: row async for row in database.billing_transactions.find({})}
    assert {name: rows[name]["status"] for name in marked} == marked
    assert rows["txn_1"]["refunded_amount"] == Decimal128("19.90")
    assert "stream_id" not in rows["txn_2"], "nobody knows what has become of it: the job names it"
    assert await database.course_events.count_documents({"event_type": "payment_refunded"}) == 1
