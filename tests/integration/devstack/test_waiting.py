"""What the demo waits for before it verifies, asked of a real server."""

from bson import ObjectId

from worker.devstack.demo.stored import uncounted
from worker.storage.database import Database


async def test_the_demo_waits_until_what_was_paid_is_counted_and_not_for_rows_of_the_platform(
    database: Database,
) -> None:
    paid, theirs = ObjectId(), ObjectId()
    rows = [{"_id": paid, "stream_id": "transaction_1", "rev": 2}, {"_id": theirs, "amount": 1}]
    await database.billing_transactions.insert_many(rows, bypass_document_validation=True)
    assert await uncounted(database) == [paid]
    counted = database.collection("counted_payments")
    await counted.insert_one({"_id": paid, "source_rev": 1}, bypass_document_validation=True)
    assert await uncounted(database) == [paid]
    await counted.update_one({"_id": paid}, {"$set": {"source_rev": 2}}, bypass_document_validation=True)
    assert await uncounted(database) == []
