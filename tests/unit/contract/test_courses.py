"""What is wrong in an event of a course alone is refused: prices, places, curricula."""

from typing import Any

import pytest

from tests.support.courses import CREATED, STORED_AT, event_data
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.events.courses import COURSES
from worker.contract.family import EventTypes
from worker.contract.rejection import Rejected, RejectReason

LESSON = {"_id": "65a4f0c2e13b7a0001bbbbbb", "title": "Lesson", "type": "video", "order": 1}
MODULE = {"_id": "65a4f0c2e13b7a0001b00001", "title": "Module", "order": 1}


def decoded(event_type: str, **details: Any) -> Event | Rejected:
    sent = encode(event_data(event_type, **details))
    return decode_event(sent, timestamp=STORED_AT, types=EventTypes((COURSES,)))


def pricing(**fields: Any) -> dict[str, Any]:
    return {"pricing": fields}


def price(amount: Any = "19.99", currency: Any = "USD", **more: Any) -> dict[str, Any]:
    return pricing(type="paid", price={"amount": amount, "currency": currency, **more})


WRONG_PRICES: dict[str, tuple[dict[str, Any], str]] = {
    "a number": (price(19.99), "details.pricing.price.amount"),
    "negative": (price("-1"), "details.pricing.price.amount"),
    "three decimals": (price("1.999"), "details.pricing.price.amount"),
    "an exponent": (price("1e3"), "details.pricing.price.amount"),
    "no number": (price("NaN"), "details.pricing.price.amount"),
    "a comma": (price("19,99"), "details.pricing.price.amount"),
    "nothing before the point": (price(".5"), "details.pricing.price.amount"),
    "empty": (price(""), "details.pricing.price.amount"),
    "too large": (price("1" * 10), "details.pricing.price.amount"),
    "a negative original": (price(original_price="-1"), "details.pricing.price.original_price"),
    "a negative discount": (price(discount_percentage=-1), "details.pricing.price.discount_percentage"),
    "two letters of currency": (price("1", "US"), "details.pricing.price.currency"),
    "a line feed behind the currency": (price("1", "USD\n"), "details.pricing.price.currency"),
    "no currency": (pricing(price={"amount": "1"}), "details.pricing.price.currency"),
    "small currency": (price("1", "usd"), "details.pricing.price.currency"),
    "above its original": (price("20", original_price="19.99"), "details.pricing.price"),
    "discount of 120 %": (price(discount_percentage=120), "details.pricing.price.discount_percentage"),
    "free at a price": (pricing(type="free", price={"amount": "1", "currency": "USD"}), "details.pricing"),
    "paid at nothing": (price("0.00"), "details.pricing"),
    "paid at once, at nothing": (
        pricing(type="paid", payment_plans=[{"type": "one_time", "price": "0"}]),
        "details.pricing",
    ),
    "paid in parts of nothing": (
        pricing(
            type="paid",
            price={"amount": "9", "currency": "EUR"},
            payment_plans=[{"type": "installments", "installments": 3, "price_per_installment": "0.00"}],
        ),
        "details.pricing",
    ),
    "unknown type": (pricing(type="cheap"), "details.pricing.type"),
    "one instalment": (
        pricing(payment_plans=[{"type": "installments", "installments": 1, "price_per_installment": "1"}]),
        "details.pricing.payment_plans.0.installments.installments",
    ),
    "a plan at a negative price": (
        pricing(payment_plans=[{"type": "one_time", "price": "-1"}]),
        "details.pricing.payment_plans.0.one_time.price",
    ),
    "a plan of no kind": (pricing(payment_plans=[{"type": "barter"}]), "details.pricing.payment_plans.0"),
    "free, with plans": (
        pricing(type="free", payment_plans=[{"type": "one_time", "price": "1"}]),
        "details.pricing",
    ),
    "plan without price": (
        pricing(payment_plans=[{"type": "one_time"}]),
        "details.pricing.payment_plans.0.one_time.price",
    ),
}


@pytest.mark.parametrize("name", WRONG_PRICES)
def test_a_wrong_price_is_refused(name: str) -> None:
    details, field = WRONG_PRICES[name]
    refused = decoded("course_priced", **details)
    assert isinstance(refused, Rejected)
    missing = name in ("no currency", "plan without price")
    assert refused.reason is (RejectReason.MISSING_FIELD if missing else RejectReason.INVALID_FIELD)
    assert refused.field == field


@pytest.mark.parametrize(
    "details",
    [
        price("0.5", original_price="0.50", discount_percentage=0),
        pricing(type="free", price={"amount": "0", "currency": "EUR"}),
        pricing(price=None, payment_plans=None),
        pricing(type="subscription"),
    ],
)
def test_a_right_price_is_taken(details: dict[str, Any]) -> None:
    assert isinstance(decoded("course_priced", **details), Event)


@pytest.mark.parametrize(
    ("event_type", "details"),
    [
        ("course_created", {**CREATED, "title": "ab"}),
        ("course_created", {**CREATED, "slug": "Not a slug"}),
        ("course_created", {"title": "Without an instructor", "slug": "without"}),
        ("course_described", {"title": None}),
        ("course_described", {"metadata": None}),
        ("course_location_changed", {"location": {"type": "Point", "coordinates": [181, 0]}}),
        ("course_location_changed", {"location": {"type": "Point", "coordinates": [1, 2, 3]}}),
        ("course_location_changed", {"location": {"type": "Polygon", "coordinates": []}}),
        ("curriculum_published", {"curriculum": [{**MODULE, "lessons": [LESSON, LESSON]}]}),
        ("curriculum_published", {"curriculum": [{**MODULE, "lessons": [{**LESSON, "type": "dance"}]}]}),
        ("curriculum_published", {"curriculum": [{**MODULE, "lessons": [{**LESSON, "_id": "7"}]}]}),
        ("course_version_created", {"version": "1", "type": "huge", "summary": "s"}),
        ("course_version_rolled_back", {"version": "1"}),
    ],
)
def test_what_makes_no_sense_by_itself_is_refused(event_type: str, details: dict[str, Any]) -> None:
    assert isinstance(decoded(event_type, **details), Rejected)
