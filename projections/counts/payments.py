"""The payment an enrolment names. Rows of billing come from the events; a record only knows how many there are."""

from dataclasses import dataclass
from datetime import datetime

from projections.event import StoredEvent


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount` is the decimal text of the producer; `event_id` are the 16 bytes of the naming event's id."""

    transaction_id: str
    amount: str
    currency: str
    method: str
    paid_at: datetime
    event_id: bytes


def payment_in(event: StoredEvent) -> Payment | None:
    """The payment an event names; None for one that names none. KeyError for one that no contract let in."""
    named = event.details.get("payment") if event.event_type == "course_enrolled" else None
    if named is None:
        return None
    return Payment(
        transaction_id=named["transaction_id"],
        amount=named["amount"],
        currency=named["currency"],
        method=named["method"],
        paid_at=event.occurred_at,
        event_id=event.event_id.bytes,
    )
