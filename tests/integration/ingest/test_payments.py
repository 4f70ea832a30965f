"""The payment that an enrolment names is stored with it as an event of its own, and counts as no record."""

from typing import Any

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
