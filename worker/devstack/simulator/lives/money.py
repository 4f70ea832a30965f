"""The lives of payments and promotions: paid, given back, tried in vain, paid in parts; offered, changed, ended."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128

from worker.contract.identity import foreign_object_id
from worker.devstack.simulator.ledger import (
    CURRENCY,
    METHOD,
    Course,
    Enrolment,
    ExpectedDocument,
    Paid,
    PaymentPlan,
)
from worker.devstack.simulator.lives.courses import INSTALMENT, INSTALMENTS
from worker.devstack.simulator.lives.writer import EventRef, EventWriter, Life, PlatformEvent
from worker.devstack.simulator.planner import object_id, transaction_token
from worker.devstack.simulator.spelling import rfc_3339
from worker.storage.database import Document

PARTIAL_REFUND = "10.00"
AMOUNT_OFF = "10.00"
FAR_AHEAD: Final = datetime(2099, 1, 1, tzinfo=UTC)
"""When promotions expire: the server removes those that are over, and the simulated term is over."""


@dataclass(frozen=True, slots=True)
class Payments:
    """What becomes of payments, and what each of them has brought in the end."""

    life: Life
    paid: Sequence[Paid]


def payment_lives(enrolments: Iterable[Enrolment], random: Random) -> Payments:
    """What becomes of each enrolment's payment. Some who named none pay in parts, or try in vain."""
    events: list[PlatformEvent] = []
    documents: list[ExpectedDocument] = []
    paid: list[Paid] = []
    for number, enrolment in enumerate(enrolments):
        payment = _payment(number, enrolment, EventWriter(random, "billing", enrolment.at))
        if payment is not None:
            events += payment.writer.events
            documents.append(payment.expected())
            paid += payment.brought()
    return Payments(Life(events, documents), paid)


def _payment(number: int, enrolment: Enrolment, writer: EventWriter) -> "_Payment | None":
    """The payment of an enrolment, or the one of somebody whose enrolment names none; cases take turns."""
    if enrolment.payment is not None:
        payment = _Payment.named(enrolment, enrolment.payment, writer)
        match number % 5:
            case 1:
                payment.fail_before()
            case 2:
                payment.repeat()
            case 3:
                payment.refund(PARTIAL_REFUND)
            case 4:
                payment.refund()
        return payment
    match number % 6:
        case 0:
            return _Payment.in_parts(enrolment, writer, INSTALMENTS)
        case 1:
            return _Payment.in_parts(enrolment, writer, 1)
        case 2:
            return _Payment.failed(enrolment, writer)
    return None


@dataclass(slots=True)
class _Payment:
    """One transaction while its life is written; `event_id` is that of the event which paid, or tried, first."""

    enrolment: Enrolment
    writer: EventWriter
    transaction_id: str
    amount: str
    status: str
    first_at: datetime
    last_at: datetime
    completed_at: datetime | None
    event_id: UUID
    refunds: Sequence[Document] = ()
    failures: Sequence[Document] = ()
    instalments: Document | None = None

    @classmethod
    def named(cls, enrolment: Enrolment, payment: PaymentPlan, writer: EventWriter) -> "_Payment":
        """The enrolment paid it."""
        at, event_id = enrolment.at, UUID(enrolment.event_id)
        transaction_id, amount = payment.transaction_id, payment.amount
        return cls(enrolment, writer, transaction_id, amount, "completed", at, at, at, event_id)

    @classmethod
    def in_parts(cls, enrolment: Enrolment, writer: EventWriter, count: int) -> "_Payment":
        """A transaction that no enrolment names: so many instalments of it are paid."""
        transaction_id = _transaction_id(writer.random)
        events: list[EventRef] = []
        paid: list[Document] = []
        for number in range(1, count + 1):
            part = {"number": number, "of": INSTALMENTS, **_price(INSTALMENT)}
            event = _write(writer, "instalment_paid", enrolment, transaction_id, part)
            events.append(event)
            paid.append({**event.claim(), "number": number, "amount": Decimal128(INSTALMENT)})
            writer.wait(days=1)
        first, last, complete = events[0], events[-1], count == INSTALMENTS
        return cls(
            enrolment,
            writer,
            transaction_id,
            str(count * Decimal(INSTALMENT)),
            "completed" if complete else "pending",
            first.at,
            last.at,
            last.at if complete else None,
            first.event_id,
            instalments={"of": INSTALMENTS, "paid": paid},
        )

    @classmethod
    def failed(cls, enrolment: Enrolment, writer: EventWriter) -> "_Payment":
        """A transaction that no enrolment names, and that nobody could pay."""
        transaction_id, reason = _transaction_id(writer.random), "no_funds"
        details = {**_price(INSTALMENT), "reason": reason}
        event = _write(writer, "payment_failed", enrolment, transaction_id, details)
        return cls(
            enrolment,
            writer,
            transaction_id,
            INSTALMENT,
            "failed",
            event.at,
            event.at,
            None,
            event.event_id,
            failures=[{**event.claim(), "reason": reason}],
        )

    def fail_before(self) -> None:
        """It had been tried, in vain, in the hour before the enrolment."""
        self.writer.at = self.enrolment.at - timedelta(hours=1)
        event = self._write("payment_failed", **_price(self.amount), reason="declined")
        self.failures, self.first_at = [{**event.claim(), "reason": "declined"}], event.at

    def repeat(self) -> None:
        """Billing says what the enrolment has said already: nothing follows from it."""
        self._write("payment_made", **_price(self.amount))

    def refund(self, part: str | None = None) -> None:
        """A part of it is given back two days later, or all that was paid."""
        self.writer.wait(days=2)
        details = {} if part is None else {"amount": part, "currency": CURRENCY}
        event = self._write("payment_refunded", **details, reason="asked_for")
        amount = Decimal128(self.amount if part is None else part)
        self.refunds = [{**event.claim(), "amount": amount, "reason": "asked_for"}]
        self.last_at = event.at
        if self._refunded() == Decimal(self.amount):
            self.status = "refunded"

    def _write(self, event_type: str, **details: Any) -> EventRef:
        return _write(self.writer, event_type, self.enrolment, self.transaction_id, details)

    def expected(self) -> ExpectedDocument:
        """The row of the transaction."""
        fields = {
            "transaction_id": self.transaction_id,
            "user_id": ObjectId(self.enrolment.user_id),
            "course_id": ObjectId(self.enrolment.course_id),
            "amount": Decimal128(self.amount),
            "currency": CURRENCY,
            "payment_method": METHOD,
            "status": self.status,
            "event_id": self.event_id,
            "created_at": self.first_at,
            "updated_at": self.last_at,
            "completed_at": self.completed_at,
            "refunded_amount": Decimal128(self._refunded()) if self.refunds else None,
            "refunds": [*self.refunds],
            "instalments": self.instalments,
            "failures": [*self.failures],
            "without_effect": None,
        }
        return ExpectedDocument("billing_transactions", foreign_object_id(self.transaction_id), fields)

    def brought(self) -> Iterator[Paid]:
        """What is left of it, once all was paid."""
        if self.status in ("completed", "refunded"):
            yield Paid(self.enrolment.course_id, Decimal(self.amount) - self._refunded())

    def _refunded(self) -> Decimal:
        return sum((each["amount"].to_decimal() for each in self.refunds), Decimal(0))


def _write(
    writer: EventWriter, event_type: str, enrolment: Enrolment, transaction_id: str, details: Document
) -> EventRef:
    ids = {"user_id": enrolment.user_id, "course_id": enrolment.course_id}
    return writer.write(event_type, ids, {"transaction_id": transaction_id, **details})


def _transaction_id(random: Random) -> str:
    return f"by-{transaction_token(random)}"


def _price(amount: str) -> Document:
    return {"amount": amount, "currency": CURRENCY, "method": METHOD}


def promotion_lives(courses: Sequence[Course], term: datetime, random: Random) -> Life:
    """A promotion of each course, changed once; every second one is ended before its time. And one of all courses."""
    writer = EventWriter(random, "billing", term - timedelta(days=3))
    documents = [_promote(writer, course, term) for course in courses]
    documents.append(_promote_all(writer, term))
    return Life(writer.events, documents)


def _promote(writer: EventWriter, course: Course, term: datetime) -> ExpectedDocument:
    """A percentage off one course."""
    key = object_id(writer.random)
    ids = {"promotion_id": key}
    details: Document = {
        "code": f"AUTUMN-{key[:6].upper()}",
        "name": "Autumn sale",
        "course_id": course.course_id,
        "discount_percentage": 20,
        "starts_at": rfc_3339(term),
        "expires_at": rfc_3339(FAR_AHEAD),
    }
    first = writer.write("promotion_created", ids, details)
    last = writer.write("promotion_changed", ids, {"discount_percentage": 25})
    ended_at = None
    if course.number % 2:
        last = writer.write("promotion_ended", ids)
        ended_at = last.at
    fields = {
        **{name: details[name] for name in ("code", "name")},
        "course_id": ObjectId(course.course_id),
        "discount_percentage": 25,
        "amount": None,
        "currency": None,
        "starts_at": term,
        "expires_at": ended_at or FAR_AHEAD,
        "ended_at": ended_at,
        "created_at": first.at,
        "updated_at": last.at,
        "without_effect": None,
    }
    return ExpectedDocument("promotions", ObjectId(key), fields, may_be_gone=ended_at is not None)


def _promote_all(writer: EventWriter, term: datetime) -> ExpectedDocument:
    """An amount off every course."""
    key = object_id(writer.random)
    code = f"WELCOME-{key[:6].upper()}"
    dates = {"starts_at": rfc_3339(term), "expires_at": rfc_3339(FAR_AHEAD)}
    created = writer.write(
        "promotion_created",
        {"promotion_id": key},
        {"code": code, "amount": AMOUNT_OFF, "currency": CURRENCY, **dates},
    )
    fields = {
        "code": code,
        "name": None,
        "course_id": None,
        "discount_percentage": None,
        "amount": Decimal128(AMOUNT_OFF),
        "currency": CURRENCY,
        "starts_at": term,
        "expires_at": FAR_AHEAD,
        "ended_at": None,
        "created_at": created.at,
        "updated_at": created.at,
        "without_effect": None,
    }
    return ExpectedDocument("promotions", ObjectId(key), fields)
