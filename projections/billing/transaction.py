"""What a transaction's events say together: they are taken in the order in which they happened, whatever came first.

The status goes up and never back: `failed`, `pending` (some instalments are paid), `completed`, `refunded`. What does
not fit to what happened before has no effect, and is named with its reason. Rules: docs/projections.md, "Billing".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from bson import ObjectId

Status = Literal["pending", "completed", "failed", "refunded"]

REASONS: Final = (
    "other_user",  # another pays than the one who did first
    "other_course",
    "other_currency",
    "other_amount",  # another price than the first naming's
    "other_plan",  # another number of instalments
    "paid_already",  # a failure after all is paid
    "paid_at_once",  # an instalment of what is paid as a whole
    "paid_in_instalments",  # the whole of what is paid in instalments
    "paid_twice",  # the same instalment, with another amount
    "nothing_paid",  # a refund of nothing
    "above_paid",  # a refund of more than is left
    "refunded_already",
)
"""Why an event has no effect: a closed set."""

_NOTHING: Final = Decimal(0)
# What was said before, by an enrolment and by a payment of its own, say: nothing changes, and nothing is wrong.
_REPEATED: Final = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a transaction, as the fold keeps it."""

    event_id: UUID
    event_type: str
    at: datetime
    user_id: ObjectId
    course_id: ObjectId
    amount: Decimal | None = None
    currency: str | None = None
    method: str | None = None
    reason: str | None = None
    number: int | None = None
    of: int | None = None
    enrolment_id: UUID | None = None

    @property
    def order(self) -> tuple[datetime, bytes]:
        """By when it happened; two of one moment by their ids."""
        return self.at, self.event_id.bytes

    @property
    def named_by(self) -> UUID:
        """The event that a producer wrote: the enrolment, where it named the payment."""
        return self.enrolment_id or self.event_id


@dataclass(slots=True)
class Paid:
    """What a transaction has come to. `payment` is the step that paid all of it at once."""

    first: Step | None = None
    last: Step | None = None
    payment: Step | None = None
    completed_at: datetime | None = None
    plan: int | None = None
    instalments: dict[int, Step] = field(default_factory=dict)
    failures: list[Step] = field(default_factory=list)
    refunds: list[tuple[Step, Decimal]] = field(default_factory=list)
    without_effect: list[tuple[Step, str]] = field(default_factory=list)

    @property
    def amount(self) -> Decimal | None:
        """What was paid; of a transaction nobody paid yet, what the last attempt was to pay, if it said so."""
        if self.payment is not None:
            return self.payment.amount
        if self.instalments:
            return sum((each.amount or _NOTHING for each in self.instalments.values()), _NOTHING)
        return next((each.amount for each in reversed(self.failures) if each.amount is not None), None)

    @property
    def refunded(self) -> Decimal:
        """What was given back."""
        return sum((amount for _, amount in self.refunds), _NOTHING)

    @property
    def is_paid(self) -> bool:
        """Something was paid, perhaps the first of the instalments only."""
        return self.payment is not None or bool(self.instalments)

    @property
    def currency(self) -> str | None:
        """That of what was paid, which it keeps; before that, of the last attempt that named one."""
        if self.payment is not None:
            return self.payment.currency
        if self.instalments:
            return self._earliest.currency
        return next((each.currency for each in reversed(self.failures) if each.currency), None)

    @property
    def method(self) -> str | None:
        """How it was paid, or was to be."""
        paid = (
            [self.payment] if self.payment else sorted(self.instalments.values(), key=lambda one: one.order)
        )
        return next((each.method for each in [*paid, *reversed(self.failures)] if each.method), None)

    @property
    def status(self) -> Status:
        """Where it stands. Every step leaves it, or takes it up."""
        if self.is_paid and self.refunds and self.refunded == self.amount:
            return "refunded"
        if self.completed_at is not None:
            return "completed"
        return "pending" if self.is_paid else "failed"

    @property
    def named_by(self) -> UUID | None:
        """The event that the row is of: what paid, else what was tried first."""
        if self.payment is not None:
            return self.payment.named_by
        first = self._earliest if self.instalments else self.first
        return None if first is None else first.named_by

    @property
    def _earliest(self) -> Step:
        return min(self.instalments.values(), key=lambda one: one.order)


def judged(steps: Iterable[Step]) -> Paid:
    """What the steps have come to; any order gives the same."""
    paid = Paid()
    for step in sorted(steps, key=lambda each: each.order):
        reason = _of_another(paid, step) or _TAKE[step.event_type](paid, step)
        if reason is None:
            paid.first = paid.first or step
            paid.last = step
        elif reason != _REPEATED:
            paid.without_effect.append((step, reason))
    return paid


def _of_another(paid: Paid, step: Step) -> str | None:
    """Why it is not of this transaction, whatever its producer says."""
    first = paid.first
    if first is None:
        return None
    if step.user_id != first.user_id:
        return "other_user"
    if step.course_id != first.course_id:
        return "other_course"
    other = paid.is_paid and step.currency is not None and step.currency != paid.currency
    return "other_currency" if other else None


def _made(paid: Paid, step: Step) -> str | None:
    """All of it is paid."""
    if paid.instalments:
        return "paid_in_instalments"
    if paid.payment is not None:
        return "other_amount" if step.amount != paid.payment.amount else _REPEATED
    paid.payment, paid.completed_at = step, step.at
    return None


def _failed(paid: Paid, step: Step) -> str | None:
    """An attempt failed; of instalments some may be paid."""
    if paid.completed_at is not None or paid.status == "refunded":
        return "paid_already"
    paid.failures.append(step)
    return None


def _instalment(paid: Paid, step: Step) -> str | None:
    """One of the instalments is paid; with the last one, in whatever order, all is."""
    if paid.payment is not None:
        return "paid_at_once"
    if paid.plan is not None and step.of != paid.plan:
        return "other_plan"
    known = paid.instalments.get(step.number or 0)
    if known is not None:
        return "paid_twice" if known.amount != step.amount else _REPEATED
    if paid.status == "refunded":
        return "refunded_already"
    paid.plan = step.of
    paid.instalments[step.number or 0] = step
    if len(paid.instalments) == step.of:
        paid.completed_at = step.at
    return None


def _refunded(paid: Paid, step: Step) -> str | None:
    """Some of what is left, or all of it, was given back."""
    if not paid.is_paid or not paid.amount:
        return "nothing_paid"
    left = paid.amount - paid.refunded
    if not left:
        return "refunded_already"
    amount = left if step.amount is None else step.amount
    if amount > left:
        return "above_paid"
    paid.refunds.append((step, amount))
    return None


_TAKE: Final[Mapping[str, Callable[[Paid, Step], str | None]]] = {
    "payment_made": _made,
    "payment_failed": _failed,
    "instalment_paid": _instalment,
    "payment_refunded": _refunded,
}
TYPES: Final = frozenset(_TAKE)
"""What a transaction is made of. Any other type, from a newer contract, is no step of it."""
