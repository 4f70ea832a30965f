"""The payments a learner's record knows: one per transaction, as the latest enrolment that names it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount` is the decimal text of the producer; `event_id` are the 16 bytes of the naming event's id."""

    transaction_id: str
    amount: str
    currency: str
    method: str
    paid_at: datetime
    event_id: bytes


def payments_of(progress: Mapping[str, Any]) -> list[Payment]:
    """Earliest first by (occurred_at, event_id); at most the last 20 of a learner in a course."""
    registers = progress["state"]["payments"].values()
    return [
        Payment(
            transaction_id=register["v"]["transaction_id"],
            amount=register["v"]["amount"],
            currency=register["v"]["currency"],
            method=register["v"]["method"],
            paid_at=register["at"],
            event_id=register["id"],
        )
        for register in sorted(registers, key=lambda each: (each["at"], each["id"]))
    ]
