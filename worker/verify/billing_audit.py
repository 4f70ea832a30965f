"""Compares billing rows with the payments that events name: values in, findings out, no I/O."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from bson.decimal128 import Decimal128

from projections.counts import Payment, payment_in
from projections.event import StoredEvent
from worker.storage.billing import billing_id
from worker.storage.refused_rows import payment_target, row_item_id
from worker.verify.findings import Fault, Finding, Kind, differs, malformed, subject_of
from worker.verify.sameness import differing
from worker.verify.shapes import misfits

Document = Mapping[str, Any]


def audit_payments(
    stream: str, payments: Iterable[Payment], billing: Mapping[str, Document], quarantined: Set[str]
) -> Iterator[Finding]:
    """Each payment has its row: of this naming of the transaction, of a later one, or the platform's own.

    `quarantined` are the open items of rows that the server refuses.
    """
    for payment in payments:
        row, named = billing.get(payment.transaction_id), (payment.paid_at, payment.event_id)
        if payment_item(payment) in quarantined:
            continue
        if row is None:
            yield Finding(Kind.BILLING, Fault.MISSING, stream, "a payment has no row")
        elif "event_id" not in row or misfits("billing_transactions", row):
            continue  # the row's own check reports it
        elif (row["created_at"], row["event_id"].bytes) < named:
            detail = "the row is of an earlier naming of its transaction"
            yield Finding(Kind.BILLING, Fault.DIFFERENT, stream, detail)


def payment_item(payment: Payment) -> str:
    """The item of a payment's row, where the server refuses it."""
    return row_item_id(payment_target(payment.event_id))


def is_ours(row: Document) -> bool:
    """The worker wrote the row: it names its event, or stands under the `_id` the worker gives its transaction."""
    transaction = row.get("transaction_id")
    under_our_id = isinstance(transaction, str) and row.get("_id") == billing_id(transaction)
    return "event_id" in row or under_our_id


def audit_billing(row: Document, event: Document | None) -> Iterator[Finding]:
    """A row the worker wrote must be what its event says; `status` is the platform's from then on."""
    if not is_ours(row):
        return
    if (unshaped := malformed("billing_transactions", row)) is not None:
        yield unshaped
        return
    subject = subject_of("billing_transactions", row)
    if "event_id" not in row:
        yield Finding(Kind.BILLING, Fault.DIFFERENT, subject, "a row of the worker without its event")
        return
    payment = payment_in(StoredEvent.from_document(event)) if event else None
    if event is None or payment is None:
        yield Finding(Kind.BILLING, Fault.UNKNOWN, subject, "a billing row of no stored payment")
        return
    expected = {
        "_id": billing_id(payment.transaction_id),
        "user_id": event["event_data"]["user_id"],
        "course_id": event["event_data"]["course_id"],
        "amount": Decimal128(payment.amount),
        "currency": payment.currency,
        "payment_method": payment.method,
        "transaction_id": payment.transaction_id,
        "created_at": payment.paid_at,
    }
    what = "the billing row differs from its event in"
    yield from differs(Kind.BILLING, subject, what, differing(expected, row))
