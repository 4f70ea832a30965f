"""What happens to promotions: the model of each event type, with what it needs."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contract.data_class import IDENTIFIER, PUBLIC
from worker.contract.family import Family, Inlet
from worker.contract.fields import DecimalText, Id, Key, Maybe, Time
from worker.contract.models import ClosedDetails, Envelope, by_type


class PromotionEvent(Envelope):
    """Something that happened to a promotion."""

    promotion_id: Id
    details: Maybe[ClosedDetails] = None


Discount = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class PromotionDetails(ClosedDetails):
    """Of one course, or of all where none is named; the discount is in percent, or an amount of money."""

    code: Key
    course_id: Maybe[Id] = None
    discount_percentage: Maybe[Discount] = None
    amount: Maybe[DecimalText] = None
    starts_at: Time
    expires_at: Time


class ChangedPromotionDetails(ClosedDetails):
    """What changes; a field that is left out stays as it was."""

    code: Maybe[Key] = None
    course_id: Maybe[Id] = None
    discount_percentage: Maybe[Discount] = None
    amount: Maybe[DecimalText] = None
    starts_at: Maybe[Time] = None
    expires_at: Maybe[Time] = None


class PromotionCreated(PromotionEvent):
    """A promotion was made."""

    event_type: Literal["promotion_created"]
    details: PromotionDetails


class PromotionChanged(PromotionEvent):
    """Something of a promotion was changed."""

    event_type: Literal["promotion_changed"]
    details: ChangedPromotionDetails


class PromotionEnded(PromotionEvent):
    """A promotion was ended before its time."""

    event_type: Literal["promotion_ended"]


_ABOUT = {"promotion_id": "65a4f0c2e13b7a0001dddddd"}

PROMOTIONS = Family(
    "promotions",
    Inlet.BILLING,
    ("promotion",),
    by_type(PromotionCreated, PromotionChanged, PromotionEnded),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "promotion_id": IDENTIFIER,
        "details.code": PUBLIC,
        "details.course_id": IDENTIFIER,
        "details.discount_percentage": PUBLIC,
        "details.amount": PUBLIC,
        "details.starts_at": PUBLIC,
        "details.expires_at": PUBLIC,
    },
    examples={
        "promotion_created": {
            **_ABOUT,
            "details": {
                "code": "SPRING24",
                "course_id": "65a4f0c2e13b7a0001aaaaaa",
                "discount_percentage": 20,
                "starts_at": "2024-03-01T00:00:00.000Z",
                "expires_at": "2024-04-01T00:00:00.000Z",
            },
        },
        "promotion_changed": {**_ABOUT, "details": {"expires_at": "2024-05-01T00:00:00.000Z"}},
        "promotion_ended": _ABOUT,
    },
)
