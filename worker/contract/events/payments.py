"""What happens to payments: one transaction, from its first naming to its last refund."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import IDENTIFIER, INTERNAL, SENSITIVE
from worker.contract.family import Family, Inlet
from worker.contract.fields import Currency, DecimalText, EventId, Id, Key, Maybe, Name, whole
from worker.contract.models import ClosedDetails, Envelope, by_type

# Ten years, month by month.
MAX_INSTALMENTS: Final = 120


def _not_zero(amount: str) -> str:
    if not amount.strip("0."):
        raise PydanticCustomError("amount", "must be more than nothing")
    return amount


Amount = Annotated[
    DecimalText,
    AfterValidator(_not_zero),
    Field(json_schema_extra={"not": {"pattern": r"\n|^[0.]*$"}}),
]
"""A decimal text of more than zero."""

# No place for words of people, who might say whose it is.
Reason = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$", json_schema_extra={"not": {"pattern": r"\n"}})]
Instalment = Annotated[int, Field(ge=1, le=MAX_INSTALMENTS), BeforeValidator(whole)]
Instalments = Annotated[int, Field(ge=2, le=MAX_INSTALMENTS), BeforeValidator(whole)]


class PaymentEvent(Envelope):
    """Something that happened to a transaction: who pays, and for which course, never changes."""

    user_id: Id
    course_id: Id


class PaymentDetails(ClosedDetails):
    """`enrolment_id` is the `event_id` of the enrolment that named the payment; the worker sets it."""

    transaction_id: Key
    amount: DecimalText
    currency: Currency
    method: Name
    enrolment_id: Maybe[EventId] = None


class FailureDetails(ClosedDetails):
    """`reason` is a short code, no text."""

    transaction_id: Key
    amount: Maybe[DecimalText] = None
    currency: Maybe[Currency] = None
    method: Maybe[Name] = None
    reason: Maybe[Reason] = None


class RefundDetails(ClosedDetails):
    """`amount` left out: all that is left. `reason` is a short code, no text."""

    transaction_id: Key
    amount: Maybe[Amount] = None
    currency: Maybe[Currency] = None
    reason: Maybe[Reason] = None


class InstalmentDetails(ClosedDetails):
    """The instalment `number` of so many."""

    transaction_id: Key
    number: Instalment
    of: Instalments
    amount: Amount
    currency: Currency
    method: Maybe[Name] = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "InstalmentDetails":
        if self.number > self.of:
            raise PydanticCustomError("instalment", "must have a number of at most `of`")
        return self


class PaymentMade(PaymentEvent):
    """The whole amount was paid at once."""

    event_type: Literal["payment_made"]
    details: PaymentDetails


class PaymentFailed(PaymentEvent):
    """An attempt to pay failed; a later one may succeed."""

    event_type: Literal["payment_failed"]
    details: FailureDetails


class PaymentRefunded(PaymentEvent):
    """What was paid was given back, in part or as a whole."""

    event_type: Literal["payment_refunded"]
    details: RefundDetails


class InstalmentPaid(PaymentEvent):
    """One instalment was paid; the payment is complete when all of them are."""

    event_type: Literal["instalment_paid"]
    details: InstalmentDetails


_WHOSE: Final = {"user_id": "65a4f0c2e13b7a0001c0ffee", "course_id": "65a4f0c2e13b7a0001aaaaaa"}
_NAMED: Final = {"transaction_id": "txn_5f1c"}


def _example(**details: Any) -> dict[str, Any]:
    return {**_WHOSE, "details": {**_NAMED, **details}}


PAYMENTS = Family(
    "payments",
    Inlet.BILLING,
    ("transaction",),
    by_type(PaymentMade, PaymentFailed, PaymentRefunded, InstalmentPaid),
    classes={
        "details.transaction_id": IDENTIFIER,
        "details.enrolment_id": IDENTIFIER,
        **dict.fromkeys(
            ("details.amount", "details.currency", "details.method", "details.reason"), SENSITIVE
        ),
        **dict.fromkeys(("details.number", "details.of"), INTERNAL),
    },
    examples={
        "payment_made": _example(amount="199.99", currency="USD", method="card"),
        "payment_failed": _example(amount="199.99", currency="USD", method="card", reason="declined"),
        "payment_refunded": _example(amount="50.00", currency="USD", reason="partly_used"),
        "instalment_paid": {
            **_WHOSE,
            "details": {
                "transaction_id": "txn_9d04",
                "number": 1,
                "of": 3,
                "amount": "66.67",
                "currency": "USD",
                "method": "card",
            },
        },
    },
    derived={"transaction": "transaction_id"},
    unsaid=("an instalment whose `number` is above `of`",),
)
"""The stream of a transaction is named by its text; see `contract.identity.foreign_object_id`."""
