"""Invariant 7, the money: each transaction is what its events say in the order in which they happened.

A payment that an enrolment names has an event of its own; a transaction has one row, whoever named it; what is paid
for an instructor's courses is the sum over rows. From docs/projections.md alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from bson import ObjectId
from bson.decimal128 import Decimal128

from tests.oracle.case import Case
from tests.oracle.finding import miscounted, unequal
from tests.oracle.reported import Event, at, details, of, order, real, sha1, without_effect
from tests.oracle.stored import DERIVED_PAYMENT, RESERVED

Money = Mapping[str, Decimal]


def payments(events: Sequence[Event]) -> Sequence[Event]:
    """The enrolments of a learner in a course that name a payment, every one of them."""
    enrolments = of(real(events), "course_enrolled")
    return [event for event in enrolments if details(event).get("payment") is not None]


def derived_payments(case: Case) -> Iterator[str]:
    """Each enrolment that names a payment has one event of it, in the stream of the transaction."""
    enrolments = [each for each in payments(case.stored.events) if RESERVED not in each["stream_id"]]
    expected = {uuid5(DERIVED_PAYMENT, str(each["_id"])): each for each in enrolments}
    found = Counter(each["_id"] for each in case.stored.events if each["_id"] in expected)
    yield from miscounted("payment", Counter(expected.keys()), found)
    for event in case.stored.events:
        enrolment = expected.get(event["_id"])
        if enrolment is not None:
            yield from _payment_differences(event, enrolment)


def _payment_differences(event: Event, enrolment: Event) -> Iterator[str]:
    named, whose = details(enrolment)["payment"], enrolment["event_data"]
    transaction = named["transaction_id"]
    expected = {
        "event_type": "payment_made",
        "occurred_at": at(enrolment),
        "stream_id": f"transaction_{ObjectId(sha1(transaction)[:12])}",
    }
    yield from unequal(f"payment {event['_id']}", expected, event)
    names = ("transaction_id", "amount", "currency", "method")
    said = {**{name: named[name] for name in names}, "enrolment_id": str(enrolment["_id"])}
    yield from unequal(f"payment {event['_id']}", said, details(event))
    data = {name: whose[name] for name in ("user_id", "course_id")}
    yield from unequal(f"payment {event['_id']}", data, event["event_data"])


def billing_rows(case: Case) -> Iterator[str]:
    """Every transaction has its row, once; rows of the platform stay as they are."""
    expected: dict[str, Mapping[str, Any]] = {}
    for events in case.stored.transactions.values():
        row = expected_row(events)
        if row is not None:
            expected[row["transaction_id"]] = {**row, "version": len(events)}
    found = Counter(row["transaction_id"] for row in case.stored.billing)
    platform = {row["transaction_id"] for row in case.stored.billing if "stream_id" not in row}
    yield from miscounted("billing row", Counter(expected.keys()), found, allowed=dict.fromkeys(platform, 1))
    for row in case.stored.billing:
        if row["transaction_id"] in expected and row["transaction_id"] not in platform:
            transaction = row["transaction_id"]
            wanted = {"_id": ObjectId(sha1(transaction)[:12]), **expected[transaction]}
            yield from unequal(f"billing row {transaction}", wanted, row)


def expected_row(events: Sequence[Event]) -> Mapping[str, Any] | None:
    """The row of a transaction, None while nothing was paid or tried."""
    taken: list[Event] = []
    refused: list[tuple[Event, str]] = []
    for event in sorted(real(events), key=order):
        why = _objection(taken, event)
        if why is None:
            taken.append(event)
        elif why:
            refused.append((event, why))
    if not taken:
        return None
    made, parts, failed = of(taken, "payment_made"), of(taken, "instalment_paid"), of(taken, "payment_failed")
    paid = [*made, *parts]
    named = paid or [each for each in reversed(failed) if "currency" in details(each)]
    amounts = [each for each in reversed(failed) if "amount" in details(each)]
    methods = [each for each in [*paid, *reversed(failed)] if "method" in details(each)]
    first, last = taken[0], taken[-1]
    opening = details(paid[0] if paid else first)
    refunded, complete = _refunded(taken), _completed_at(taken)
    back = bool(refunded) and refunded == _paid(taken)
    amount = _paid(taken) if paid else _amount(amounts[0]) if amounts else None
    status = "refunded" if back else "completed" if complete else "pending" if paid else "failed"
    return {
        "event_id": UUID(opening["enrolment_id"]) if "enrolment_id" in opening else (paid or taken)[0]["_id"],
        "user_id": first["event_data"]["user_id"],
        "course_id": first["event_data"]["course_id"],
        "amount": None if amount is None else Decimal128(amount),
        "currency": details(named[0])["currency"] if named else None,
        "payment_method": details(methods[0])["method"] if methods else None,
        "transaction_id": details(first)["transaction_id"],
        "status": status,
        "created_at": at(first),
        "updated_at": at(last),
        "completed_at": complete,
        "refunded_amount": Decimal128(refunded) if of(taken, "payment_refunded") else None,
        "refunds": [{**each, "amount": Decimal128(amount)} for each, amount in _refunds(taken)],
        "instalments": _instalments(parts),
        "failures": [{**_named(each), "reason": details(each).get("reason")} for each in failed],
        "without_effect": without_effect(refused),
    }


def revenues(case: Case) -> Mapping[ObjectId, Money]:
    """By course, and then by currency, what was paid as a whole and not given back."""
    sums: dict[ObjectId, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for events in case.stored.transactions.values():
        row = expected_row(events)
        if row is not None and row["status"] in ("completed", "refunded"):
            back = row["refunded_amount"]
            paid = row["amount"].to_decimal() - (back.to_decimal() if back else 0)
            sums[row["course_id"]][row["currency"]] += paid
    return sums


def added(revenue: Mapping[ObjectId, Money], courses: Sequence[ObjectId]) -> Money:
    """What was paid for all of these courses, by currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for course in courses:
        for currency, amount in revenue.get(course, {}).items():
            sums[currency] += amount
    return sums


def _objection(taken: Sequence[Event], event: Event) -> str | None:
    """Why an event changes nothing: a reason, or "" for one that says what was said before."""
    said, kind = details(event), event["event_type"]
    made, parts = of(taken, "payment_made"), of(taken, "instalment_paid")
    paid, back = [*made, *parts], _refunded(taken)
    for whose in ("user", "course"):
        if taken and event["event_data"][f"{whose}_id"] != taken[0]["event_data"][f"{whose}_id"]:
            return f"other_{whose}"
    if paid and said.get("currency", details(paid[0])["currency"]) != details(paid[0])["currency"]:
        return "other_currency"
    gone = bool(paid) and bool(back) and back == _paid(taken)
    if kind == "payment_made":
        same = bool(made) and _amount(event) == _amount(made[0])
        return "paid_in_instalments" if parts else None if not made else "" if same else "other_amount"
    if kind == "payment_failed":
        return "paid_already" if gone or _completed_at(taken) else None
    if kind == "instalment_paid":
        before = [each for each in parts if int(details(each)["number"]) == int(said["number"])]
        if made or (parts and int(details(parts[0])["of"]) != int(said["of"])):
            return "paid_at_once" if made else "other_plan"
        if before:
            return "" if _amount(before[0]) == _amount(event) else "paid_twice"
        return "refunded_already" if gone else None
    if not paid or not _paid(taken):
        return "nothing_paid"
    left = _paid(taken) - back
    return "refunded_already" if not left else "above_paid" if _amount(event) > left else None


def _paid(taken: Sequence[Event]) -> Decimal:
    return sum(map(_amount, of(taken, "payment_made", "instalment_paid")), Decimal(0))


def _refunded(taken: Sequence[Event]) -> Decimal:
    """One that names no amount gives back what was left then."""
    back = Decimal(0)
    for place, event in enumerate(taken):
        if event["event_type"] == "payment_refunded":
            back += _amount(event) if "amount" in details(event) else _paid(taken[:place]) - back
    return back


def _refunds(taken: Sequence[Event]) -> Iterator[tuple[Mapping[str, Any], Decimal]]:
    for place, event in enumerate(taken):
        if event["event_type"] == "payment_refunded":
            left = _paid(taken[:place]) - _refunded(taken[:place])
            back = _amount(event) if "amount" in details(event) else left
            yield {**_named(event), "reason": details(event).get("reason")}, back


def _instalments(parts: Sequence[Event]) -> Mapping[str, Any] | None:
    numbered = sorted(parts, key=lambda each: int(details(each)["number"]))
    paid = [
        {**_named(each), "number": int(details(each)["number"]), "amount": Decimal128(_amount(each))}
        for each in numbered
    ]
    return {"of": int(details(parts[0])["of"]), "paid": paid} if parts else None


def _named(event: Event) -> Mapping[str, Any]:
    return {"event_id": event["_id"], "at": at(event)}


def _completed_at(taken: Sequence[Event]) -> Any:
    parts = of(taken, "instalment_paid")
    for event in of(taken, "payment_made"):
        return at(event)
    whole = bool(parts) and len(parts) == int(details(parts[0])["of"])
    return at(parts[-1]) if whole else None


def _amount(event: Event) -> Decimal:
    return Decimal(details(event).get("amount", "0"))
