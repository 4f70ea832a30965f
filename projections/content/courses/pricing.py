"""Whether a course costs what its type says, where several events have said the parts of its pricing. Pure.

Each event alone is right: the contract has seen to that. Merged, the type of one may stand beside the price of
another. The type decides: a part that it does not allow is not shown, until type or part is said anew.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128

from projections.merging import Order, Stamps

PRICE_UNLIKE_TYPE: Final = "price_unlike_type"
"""Why a price or payment plans are not shown."""

SAID_BY: Final = "course_priced"
"""The type of events that say what a course costs, where they are no steps of its life."""

_TYPE: Final = "type"
_PARTS: Final = ("price", "payment_plans")


def unlike_type(values: Mapping[str, Any], stamps: Stamps) -> dict[str, Order]:
    """The parts of a content's `pricing` that do not fit its type: when each was said, and by which event.

    What one event said together is never judged: the contract has done so, and a document that was adopted is what
    the platform made of it.
    """
    pricing, said = values.get("pricing"), _parts_said(stamps)
    if not isinstance(pricing, Mapping) or _TYPE not in pricing or _TYPE not in said:
        return {}
    return {
        part: (said[part][0], said[part][1])
        for part in _PARTS
        if part in pricing
        and part in said
        and said[part][1] != said[_TYPE][1]
        and _is_unlike(pricing[_TYPE], pricing[part])
    }


def _parts_said(stamps: Stamps) -> Stamps:
    """When each part of the pricing was said, and by which event."""
    _, _, *fields = stamps.get("pricing", (None, None))
    return fields[0] if fields else {}


def _is_unlike(kind: Any, value: Any) -> bool:
    costs = [each for each in map(_number, _costs(value)) if each is not None]
    if kind == "free":
        return any(cost > 0 for cost in costs) or (isinstance(value, list) and bool(value))
    return kind == "paid" and any(cost <= 0 for cost in costs)


def _costs(value: Any) -> Iterator[Any]:
    """What a price, or each of several plans, costs; nothing of what an adopted document has in another shape."""
    match value:
        case {"amount": cost}:
            yield cost
        case list():
            yield from (cost for plan in value for cost in _costs_of_plan(plan))


def _costs_of_plan(plan: Any) -> Iterator[Any]:
    match plan:
        case {"type": "one_time", "price": cost} | {"type": "installments", "price_per_installment": cost}:
            yield cost


def _number(value: Any) -> Decimal | float | None:
    """A number as one can compare it; None for what is none."""
    if isinstance(value, Decimal128):
        exact = value.to_decimal()
        return None if exact.is_nan() else exact
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
