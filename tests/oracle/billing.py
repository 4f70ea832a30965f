"""Invariant 7, the money: one billing row per transaction, as the latest enrolment that names it says."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128

from tests.oracle.case import Case
from tests.oracle.finding import miscounted, unequal
from tests.oracle.reported import Event, at, details, latest_per, of, real, sha1

_STATUSES = ("pending", "completed", "failed", "refunded")


def payments(events: Sequence[Event]) -> Sequence[Event]:
    """The enrolments of a learner in a course that name a payment, every one of them."""
    enrolments = of(real(events), "course_enrolled")
    return [event for event in enrolments if details(event).get("payment") is not None]


def billing_rows(case: Case) -> Iterator[str]:
    """Every payment has its row, once, with the words of the latest naming; rows of the platform stay as they are."""
    standing = {
        _transaction(event): event for event in latest_per(payments(case.stored.counted_events), _transaction)
    }
    found = Counter(row["transaction_id"] for row in case.stored.billing)
    platform = {row["transaction_id"] for row in case.stored.billing if "event_id" not in row}
    yield from miscounted("billing row", Counter(standing.keys()), found, allowed=dict.fromkeys(platform, 1))
    for row in case.stored.billing:
        event = standing.get(row["transaction_id"])
        if event is not None and row["transaction_id"] not in platform:
            yield from _row_differences(row, event)


def _row_differences(row: Mapping[str, Any], event: Event) -> Iterator[str]:
    payment, data = details(event)["payment"], event["event_data"]
    subject = f"billing row {row['transaction_id']}"
    expected = {
        "_id": ObjectId(sha1(row["transaction_id"])[:12]),
        "event_id": event["_id"],
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "amount": Decimal128(payment["amount"]),
        "currency": payment["currency"],
        "payment_method": payment["method"],
        "created_at": at(event),
    }
    yield from unequal(subject, expected, row)
    if row["status"] not in _STATUSES:
        yield f"{subject} has the status {row['status']}"


def _transaction(event: Event) -> str:
    return str(details(event)["payment"]["transaction_id"])
