"""What happens to promotions: one is created, changed, and ends by itself or before its time."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import IDENTIFIER, PUBLIC
from worker.contract.events.payments import Amount
from worker.contract.family import Family, Inlet
from worker.contract.fields import Currency, Id, Key, Maybe, Name, Time
from worker.contract.models import ClosedDetails, Envelope, by_type

Discount = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class PromotionEvent(Envelope):
    """Something that happened to a promotion."""

    promotion_id: Id
    details: Maybe[ClosedDetails] = None


class DiscountDetails(ClosedDetails):
    """A percentage, or an amount of a currency: never both."""

    discount_percentage: Maybe[Discount] = None
    amount: Maybe[Amount] = None
    currency: Maybe[Currency] = None
    starts_at: Maybe[Time] = None
    expires_at: Maybe[Time] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "DiscountDetails":
        if self.discount_percentage is not None and self.amount is not None:
            raise PydanticCustomError("discount", "must have a percentage or an amount, not both")
        if (self.amount is None) != (self.currency is None):
            raise PydanticCustomError("discount", "must have amount and currency together")
        if self.starts_at and self.expires_at and self.starts_at >= self.expires_at:
            raise PydanticCustomError("period", "must start before it expires")
        return self


class NewPromotionDetails(DiscountDetails):
    """`course_id` left out: it holds for all courses. Times are RFC 3339."""

    code: Key
    name: Maybe[Name] = None
    course_id: Maybe[Id] = None
    starts_at: Time
    expires_at: Time

    @model_validator(mode="after")
    def _has_a_discount(self) -> "NewPromotionDetails":
        if self.discount_percentage is None and self.amount is None:
            raise PydanticCustomError("discount", "must have a percentage or an amount")
        return self


class ChangedPromotionDetails(DiscountDetails):
    """What is left out stays; `course_id` null: it holds for all courses from now on."""

    code: Maybe[Key] = None
    name: Maybe[Name] = None
    course_id: Id | None = None


class EndedPromotionDetails(ClosedDetails):
    """There is nothing more to say."""


class PromotionCreated(PromotionEvent):
    """A promotion is made known, with its discount and its time."""

    event_type: Literal["promotion_created"]
    details: NewPromotionDetails


class PromotionChanged(PromotionEvent):
    """Some of it is another from now on."""

    event_type: Literal["promotion_changed"]
    details: ChangedPromotionDetails


class PromotionEnded(PromotionEvent):
    """It ended, perhaps before its time."""

    event_type: Literal["promotion_ended"]
    details: Maybe[EndedPromotionDetails] = None


_PROMOTION: Final = {"promotion_id": "65a4f0c2e13b7a0001dddddd"}


def _example(**details: Any) -> dict[str, Any]:
    return {**_PROMOTION, "details": details}


PROMOTIONS = Family(
    "promotions",
    Inlet.BILLING,
    ("promotion",),
    by_type(PromotionCreated, PromotionChanged, PromotionEnded),
    classes={
        "promotion_id": IDENTIFIER,
        "details.course_id": IDENTIFIER,
        **dict.fromkeys(
            (
                "details.code",
                "details.name",
                "details.discount_percentage",
                "details.amount",
                "details.currency",
                "details.starts_at",
                "details.expires_at",
            ),
            PUBLIC,
        ),
    },
    examples={
        "promotion_created": _example(
            code="SPRING24",
            name="Spring sale",
            course_id="65a4f0c2e13b7a0001aaaaaa",
            discount_percentage=20,
            starts_at="2024-03-01T00:00:00.000Z",
            expires_at="2024-04-01T00:00:00.000Z",
        ),
        "promotion_changed": _example(discount_percentage=25, expires_at="2024-04-15T00:00:00.000Z"),
        "promotion_ended": _PROMOTION,
    },
    unsaid=(
        "a promotion with a percentage and an amount, with neither when it is created, an amount without a currency",
        "a promotion that starts at or after its end",
    ),
)
