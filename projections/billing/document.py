"""The stored shape of a row of `billing_transactions`: the spec's, with what has come of it since."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel, ConfigDict, Field

from projections.without_effect import WithoutEffect

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Slot = Annotated[int, Field(ge=0, le=255)]


def _absent() -> Any:
    """Default of a field that a document may leave out but never holds as null."""
    return None


class _Closed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Refund(_Closed):
    """What was given back at once."""

    event_id: UUID
    at: datetime
    amount: Decimal128
    reason: str | None


class Instalment(_Closed):
    """One that was paid."""

    event_id: UUID
    at: datetime
    number: Positive
    amount: Decimal128


class Instalments(_Closed):
    """Those that were paid, by their numbers, of so many."""

    of: Positive
    paid: list[Instalment]


class Failure(_Closed):
    """An attempt that failed."""

    event_id: UUID
    at: datetime
    reason: str | None


class BillingTransaction(BaseModel):
    """`billing_transactions`: the spec's shape; amounts are decimal, never doubles.

    All from `event_id` on stands in the rows that the worker wrote, and nothing of it in the platform's own. Of rows
    of a release before there is `event_id` alone. `event_id` is the event by which the transaction was paid, or what
    was tried first: the enrolment, where that named the payment. `amount` and `currency` are null of an attempt that
    did not name them.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    user_id: ObjectId
    course_id: ObjectId
    amount: Decimal128 | None
    currency: Text | None
    payment_method: str | None
    status: Literal["pending", "completed", "failed", "refunded"]
    transaction_id: Text
    created_at: datetime
    event_id: UUID = Field(default_factory=_absent)
    stream_id: Text = Field(default_factory=_absent)
    slot: Slot = Field(default_factory=_absent)
    version: Count = Field(default_factory=_absent)
    projection_version: Positive = Field(default_factory=_absent)
    recorded_at: datetime = Field(default_factory=_absent)
    rev: Count = Field(default_factory=_absent)
    updated_at: datetime | None = None
    completed_at: datetime | None = None
    refunded_amount: Decimal128 | None = None
    refunds: list[Refund] = Field(default_factory=_absent)
    instalments: Instalments | None = None
    failures: list[Failure] = Field(default_factory=_absent)
    without_effect: WithoutEffect | None = None
    state: dict[str, Any] = Field(default_factory=_absent)
