"""The value that registers `revenue`: what was paid for each course, by currency, and not given back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel, ConfigDict, Field

from projections.billing.projection import BILLING
from projections.counts.teaching import REVENUE as REVENUE_NAME
from projections.counts.teaching import REVENUE_COLLECTION
from projections.kinds import Document, Index, Sum, SumProjection, Target, Vector

REVENUE_VERSION: Final = 1
"""Goes up with every change of the vector: all rows are counted anew then."""

# A payment has four decimals at most.
_TEN_THOUSANDTHS: Final = 4
_PAID: Final = ("completed", "refunded")
_COUNTED: Final = "counted_payments"


class CountedPayment(BaseModel):
    """`counted_payments`: what of a billing row has been counted, in ten-thousandths of its currency."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    source_rev: Annotated[int, Field(ge=0)]
    counts_version: Annotated[int, Field(ge=1)]
    counted: dict[str, int]
    course_id: ObjectId


class CourseRevenue(BaseModel):
    """`course_revenue`: by the course's `_id` what was paid for it, in ten-thousandths of each currency."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    revenue: dict[str, int]


def _vector(row: Mapping[str, Any]) -> Vector:
    """Nothing for what is not paid as a whole; KeyError or TypeError for a row that no fold wrote."""
    if row["status"] not in _PAID:
        return {}
    refunded = row["refunded_amount"]
    kept = _units(row["amount"]) - (0 if refunded is None else _units(refunded))
    return {str(row["currency"]): kept}


def _units(amount: Decimal128) -> int:
    decimal: Decimal = amount.to_decimal()
    return int(decimal.scaleb(_TEN_THOUSANDTHS))


def _shown(sums: Vector) -> Document:
    return {"revenue": dict(sorted(sums.items()))}


REVENUE: Final = SumProjection(
    name=REVENUE_NAME,
    version=REVENUE_VERSION,
    source=BILLING.name,
    vector=_vector,
    counted=Target(
        collection=_COUNTED,
        shapes=(CountedPayment,),
        indexes=(Index(_COUNTED, "idx_counted_payments_course", (("course_id", 1),)),),
    ),
    sums=(Sum(REVENUE_COLLECTION, "course_id", _shown, whole=True),),
    shows=(Target(collection=REVENUE_COLLECTION, shapes=(CourseRevenue,)),),
)
