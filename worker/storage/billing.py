"""The rows of `billing_transactions`: one per transaction, whoever counts it and however often."""

import hashlib
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128
from pymongo import UpdateOne

from projections.counts import Payment
from worker.storage.driver import Document


def billing_row(user_id: ObjectId, course_id: ObjectId, payment: Payment) -> Document:
    """What the payment's row says; `_id` and `status` aside."""
    return {
        "event_id": UUID(bytes=payment.event_id),
        "user_id": user_id,
        "course_id": course_id,
        "amount": Decimal128(payment.amount),
        "currency": payment.currency,
        "payment_method": payment.method,
        "transaction_id": payment.transaction_id,
        "created_at": payment.paid_at,
    }


def billing_upsert(user_id: ObjectId, course_id: ObjectId, payment: Payment) -> UpdateOne:
    """Insert the payment's row, or bring it to a later naming of the same transaction.

    May run twice and in any order: of two namings the later one by (occurred_at, event_id) stands. `status` is
    set once and the platform's from then on. A row without `event_id` was written by the platform: it stays.
    """
    row = billing_row(user_id, course_id, payment)
    new = {"_id": billing_id(payment.transaction_id), "status": "completed", **row}
    # Arrays compare place by place.
    later = {"$gt": [[row["created_at"], row["event_id"]], ["$created_at", "$event_id"]]}
    decided = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [{"$type": "$created_at"}, "missing"]}, "then": {"$literal": new}},
                {"case": {"$eq": [{"$type": "$event_id"}, "missing"]}, "then": "$$ROOT"},
                {"case": later, "then": {"$mergeObjects": ["$$ROOT", {"$literal": row}]}},
            ],
            "default": "$$ROOT",
        }
    }
    return UpdateOne({"transaction_id": payment.transaction_id}, [{"$replaceWith": decided}], upsert=True)


def billing_id(transaction_id: str) -> ObjectId:
    """First 12 bytes of the SHA-1 of the transaction id: everyone who writes the row gives it the same `_id`."""
    return ObjectId(hashlib.sha1(transaction_id.encode(), usedforsecurity=False).digest()[:12])
