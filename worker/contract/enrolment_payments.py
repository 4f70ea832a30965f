"""The payment that an enrolment names, as an event of its own: what a transaction comes to has one kind of source."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.events.payments import PAYMENTS
from worker.contract.family import EventTypes
from worker.contract.rejection import Rejected
from worker.contract.times import spelt

# Fixed once and for all: changing it would have every payment named a second time.
_NAMESPACE: Final = UUID("3d1f7c5a-90b4-5c1e-8f2d-6a7e4b0c9d13")
# Nobody knows when it was, but that the payment came first.
_RIGHT_AFTER: Final = timedelta(milliseconds=1)
_TYPES: Final = EventTypes((PAYMENTS,))


def payment_event_id(enrolment: UUID) -> UUID:
    """`event_id` of the payment that this enrolment names."""
    return uuid5(_NAMESPACE, str(enrolment))


def names_payment(enrolment: Mapping[str, Any]) -> bool:
    """Whether a stored event is an enrolment that names a payment."""
    return enrolment["event_type"] == "course_enrolled" and "payment" in enrolment["event_data"].get(
        "details", {}
    )


def refund_event(enrolment: Mapping[str, Any]) -> Event | Rejected:
    """What a row says that the platform has marked as refunded before refunds were events: all of it, right after."""
    data, event_id = enrolment["event_data"], enrolment["_id"]
    payment, occurred_at = data["details"]["payment"], enrolment["occurred_at"] + _RIGHT_AFTER
    fields = {
        "event_id": uuid5(_NAMESPACE, f"{event_id}:refunded"),
        "event_type": "payment_refunded",
        "occurred_at": spelt(occurred_at),
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "details": {
            **{name: payment.get(name) for name in ("transaction_id", "currency")},
            "reason": "platform",
        },
    }
    return decode_event(encode(fields), timestamp=occurred_at, types=_TYPES)


def payment_event(enrolment: Mapping[str, Any]) -> Event | Rejected:
    """What a `course_events` document that `names_payment` says of its payment, in the words of a billing event.

    The same enrolment gives the same event. Rejected is what today's contract would not take.
    """
    data = enrolment["event_data"]
    payment = data["details"]["payment"]
    event_id, occurred_at = enrolment["_id"], enrolment["occurred_at"]
    fields = {
        "event_id": payment_event_id(event_id),
        "event_type": "payment_made",
        "occurred_at": spelt(occurred_at),
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "details": {
            **{name: payment.get(name) for name in ("transaction_id", "amount", "currency", "method")},
            "enrolment_id": str(event_id),
        },
    }
    return decode_event(encode(fields), timestamp=occurred_at, types=_TYPES)
