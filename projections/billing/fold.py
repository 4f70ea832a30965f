"""From a transaction's events to its row. The steps are kept, and judged anew with each: any order gives one row."""

from bisect import insort
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from bson.decimal128 import Decimal128

from projections.billing.transaction import TYPES, Paid, Step, judged
from projections.event import StoredEvent
from projections.kinds import Document
from projections.streams import StreamFold
from projections.without_effect import entry, without_effect
from worker.contract.fields import whole

BILLING_VERSION: Final = 1
"""Goes up with every change of a rule or of the row: rows of an older version are folded anew."""

DETAILS: Final = (
    "transaction_id",
    "amount",
    "currency",
    "method",
    "reason",
    "number",
    "of",
    "enrolment_id",
)

# Ten years of instalments, each failed twice and refunded. A row of more is somebody's mistake, and waits.
_MOST_STEPS: Final = 500


def _opened(document: Mapping[str, Any] | None) -> dict[str, Any]:
    """The steps so far, in their order."""
    state = (document or {}).get("state") or {"transaction_id": None, "steps": []}
    return {"transaction_id": state["transaction_id"], "steps": list(state["steps"])}


def _apply(state: dict[str, Any], event: StoredEvent) -> None:
    """Take an event in at its place. Raises ValueError for more than a transaction can have."""
    if event.event_type not in TYPES:
        return
    if len(state["steps"]) >= _MOST_STEPS:
        raise ValueError("a transaction has too many events")
    state["transaction_id"] = event.details["transaction_id"]
    insort(state["steps"], _step_of(event), key=lambda step: (step["at"], step["event_id"].bytes))


def _step_of(event: StoredEvent) -> Document:
    said, enrolment = event.details, event.details.get("enrolment_id")
    step = {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "at": event.occurred_at,
        "user_id": event.user_id,
        "course_id": event.course_id,
        **{name: said.get(name) for name in ("amount", "currency", "method", "reason")},
        **{name: whole(said.get(name)) for name in ("number", "of")},
        "enrolment_id": None if enrolment is None else UUID(enrolment),
    }
    return {name: value for name, value in step.items() if value is not None}


def _shown(state: dict[str, Any]) -> Document:
    paid = judged(map(_step, state["steps"]))
    return {
        "event_id": paid.named_by,
        "user_id": None if paid.first is None else paid.first.user_id,
        "course_id": None if paid.first is None else paid.first.course_id,
        "amount": _decimal(paid.amount),
        "currency": paid.currency,
        "payment_method": paid.method,
        "transaction_id": state["transaction_id"],
        "status": paid.status,
        "created_at": None if paid.first is None else paid.first.at,
        "updated_at": None if paid.last is None else paid.last.at,
        "completed_at": paid.completed_at,
        "refunded_amount": _decimal(paid.refunded) if paid.refunds else None,
        "refunds": [
            {**_named(step), "amount": _decimal(amount), "reason": step.reason}
            for step, amount in paid.refunds
        ],
        "instalments": _instalments(paid),
        "failures": [{**_named(step), "reason": step.reason} for step in paid.failures],
        "without_effect": without_effect(
            entry(step.event_id, step.event_type, step.at, reason) for step, reason in paid.without_effect
        ),
        "state": state,
    }


def _instalments(paid: Paid) -> Document | None:
    if paid.plan is None:
        return None
    numbered = sorted(paid.instalments.items())
    shown = [{**_named(step), "number": number, "amount": _decimal(step.amount)} for number, step in numbered]
    return {"of": paid.plan, "paid": shown}


def _named(step: Step) -> dict[str, UUID | datetime]:
    return {"event_id": step.event_id, "at": step.at}


def _step(kept: Mapping[str, Any]) -> Step:
    amount = kept.get("amount")
    return Step(**{**kept, "amount": None if amount is None else Decimal(amount)})


def _decimal(amount: Decimal | None) -> Decimal128 | None:
    return None if amount is None else Decimal128(amount)


def begun(row: Mapping[str, Any]) -> bool:
    """Whether there is a transaction to show: something was paid, or tried."""
    return row["user_id"] is not None


FOLD: Final = StreamFold(BILLING_VERSION, _opened, _apply, _shown)
