"""What is wrong in an event about money by itself is refused, and says in which field."""

from typing import Any

import pytest

from tests.unit.contract.records import ALL_EXAMPLES, accepted, fields, refused, with_details
from worker.contract.rejection import RejectReason

PLAIN = ("payment_made", "payment_failed", "payment_refunded", "instalment_paid")
NOT_AN_AMOUNT = (
    -1,
    19.99,
    "-1",
    "1,50",
    "1.",
    ".5",
    "1e3",
    "NaN",
    "1.23456",
    "1" * 13,
    "",
    " 1",
    "1\n",
    None,
    True,
)
NOT_A_CURRENCY = ("usd", "US", "USDT", "\u20ac", "", 1, None)
NOTHING = ("0", "0.00", "0000")


@pytest.mark.parametrize("amount", NOT_AN_AMOUNT)
@pytest.mark.parametrize("event_type", PLAIN)
def test_an_amount_that_is_no_plain_decimal_is_refused(event_type: str, amount: Any) -> None:
    assert refused(with_details(event_type, amount=amount)) == (
        RejectReason.INVALID_FIELD,
        "details.amount",
    )


@pytest.mark.parametrize("currency", NOT_A_CURRENCY)
@pytest.mark.parametrize("event_type", PLAIN)
def test_a_currency_is_three_capital_letters(event_type: str, currency: Any) -> None:
    assert refused(with_details(event_type, currency=currency)) == (
        RejectReason.INVALID_FIELD,
        "details.currency",
    )


@pytest.mark.parametrize("amount", NOTHING)
def test_nothing_can_be_paid_and_is_neither_refunded_nor_an_instalment(amount: str) -> None:
    accepted(with_details("payment_made", amount=amount))
    for event_type in ("payment_refunded", "instalment_paid"):
        assert refused(with_details(event_type, amount=amount)) == (
            RejectReason.INVALID_FIELD,
            "details.amount",
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": 0}, "details.number"),
        ({"number": 1.5}, "details.number"),
        ({"number": 4}, "details"),
        ({"of": 1}, "details.of"),
        ({"of": 121}, "details.of"),
        ({"of": "3"}, "details.of"),
    ],
)
def test_an_instalment_is_one_of_so_many(changes: dict[str, Any], field: str) -> None:
    assert refused(with_details("instalment_paid", **changes)) == (RejectReason.INVALID_FIELD, field)


@pytest.mark.parametrize("event_type", PLAIN)
def test_words_of_people_have_no_place_beside_a_payment(event_type: str) -> None:
    for more in ({"reason": "Bought by mistake"}, {"note": "for Jane"}):
        assert refused(with_details(event_type, **more))[0] in (
            RejectReason.INVALID_FIELD,
            RejectReason.UNKNOWN_FIELD,
        )


AMOUNT = {"amount": "15.00", "currency": "EUR"}
WRONG_PROMOTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing off": ({"discount_percentage": 0}, "details.discount_percentage"),
    "less than nothing off": ({"discount_percentage": -5}, "details.discount_percentage"),
    "more than all off": ({"discount_percentage": 100.5}, "details.discount_percentage"),
    "a percentage as a text": ({"discount_percentage": "20"}, "details.discount_percentage"),
    "both kinds": (AMOUNT, "details"),
    "an amount of nothing": ({"discount_percentage": ..., **AMOUNT, "amount": "0.00"}, "details.amount"),
    "an amount of no currency": ({"discount_percentage": ..., "amount": "15.00"}, "details"),
    "a currency of no amount": ({"currency": "EUR"}, "details"),
    "a negative amount": ({"discount_percentage": ..., **AMOUNT, "amount": "-1"}, "details.amount"),
    "no discount": ({"discount_percentage": ...}, "details"),
    "an end before its start": ({"expires_at": "2024-02-01T00:00:00Z"}, "details"),
    "an end at its start": (
        {"expires_at": ALL_EXAMPLES["promotion_created"]["details"]["starts_at"]},
        "details",
    ),
    "a day for a time": ({"starts_at": "2024-03-01"}, "details.starts_at"),
    "no code": ({"code": ""}, "details.code"),
}


@pytest.mark.parametrize("name", WRONG_PROMOTIONS)
def test_a_promotion_that_makes_no_sense_is_refused(name: str) -> None:
    changes, field = WRONG_PROMOTIONS[name]
    details = {**ALL_EXAMPLES["promotion_created"]["details"], **changes}
    kept = {key: value for key, value in details.items() if value is not ...}
    assert refused(fields("promotion_created", details=kept)) == (RejectReason.INVALID_FIELD, field)


@pytest.mark.parametrize(
    "details",
    [
        {"discount_percentage": 10, **AMOUNT},
        {"amount": "15.00"},
        {"currency": "EUR"},
        {"starts_at": "2024-05-01T00:00:00Z", "expires_at": "2024-04-01T00:00:00Z"},
    ],
)
def test_a_change_of_a_promotion_that_makes_no_sense_by_itself_is_refused(details: dict[str, Any]) -> None:
    assert refused(fields("promotion_changed", details=details)) == (RejectReason.INVALID_FIELD, "details")
