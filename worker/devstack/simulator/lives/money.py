"""What is paid, given back, tried in vain, or paid in parts; and promotions, with the documents of all of them."""

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
from worker.devstack.simulator.ledger import Course, Enrolment, ExpectedDocument, Paid, PaymentPlan
from worker.devstack.simulator.lives.courses import CURRENCY
from worker.devstack.simulator.lives.writer import PlatformEvent, Said, Writer, written
from worker.devstack.simulator.planner import object_id

GIVEN_BACK = "10.00"
PART, PARTS = "49.67", 3
FAR_AHEAD: Final = datetime(2099, 1, 1, tzinfo=UTC)
"""When promotions expire: the server removes those that are over, and the simulated term is over."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MoneyLife:
    """Events, documents, and what each transaction has brought in the end."""

    events: Sequence[PlatformEvent]
    documents: Sequence[ExpectedDocument]
    paid: Sequence[Paid]


def live_payments(enrolments: Iterable[Enrolment], random: Random) -> MoneyLife:
    """What becomes of each enrolment's payment; some who named none pay in parts, or try in vain."""
    events: list[PlatformEvent] = []
    documents: list[ExpectedDocument] = []
    paid: list[Paid] = []
    for number, enrolment in enumerate(enrolments):
        payment = _Payment(enrolment, Writer(random, "billing", enrolment.at))
        if enrolment.payment is not None:
            payment.go_on(number % 5, enrolment.payment)
        elif number % 6 < 3:
            payment.try_by_itself(number % 6)
        else:
            continue
        events += payment.writer.events
        documents.append(payment.expected())
        paid += payment.brought()
    return MoneyLife(events, documents, paid)


class _Payment:
    """One transaction while it is decided."""

    def __init__(self, enrolment: Enrolment, writer: Writer) -> None:
        self.enrolment, self.writer = enrolment, writer
        self.ids = {"user_id": enrolment.user_id, "course_id": enrolment.course_id}
        self.amount, self.status, self.currency = "", "completed", CURRENCY
        self.method: str | None = "card"
        self.first_at = self.last_at = enrolment.at
        self.completed_at: datetime | None = enrolment.at
        self.event_id = UUID(enrolment.event_id)
        self.refunds: list[Document] = []
        self.failures: list[Document] = []
        self.instalments: Document | None = None

    def say(self, event_type: str, **details: Any) -> Said:
        return self.writer.say(event_type, self.ids, {"transaction_id": self.transaction_id, **details})

    def go_on(self, turn: int, payment: PaymentPlan) -> None:
        """The enrolment paid it: tried before, said a second time, given back in part, as a whole, or no more."""
        self.transaction_id, self.amount = payment.transaction_id, payment.amount
        price: Document = {"amount": payment.amount, "currency": CURRENCY, "method": "card"}
        if turn == 1:
            before = self.enrolment.at - timedelta(minutes=10)
            details = {"transaction_id": self.transaction_id, **price, "reason": "declined"}
            said = self.writer.say_at(before, "payment_failed", self.ids, details)
            self.failures, self.first_at = [_failure(said, "declined")], said.at
        elif turn == 2:
            self.say("payment_made", **price)  # what the enrolment has said already
        elif turn in (3, 4):
            self.writer.wait(days=2)
            part = {"amount": GIVEN_BACK, "currency": CURRENCY} if turn == 3 else {}
            said = self.say("payment_refunded", **part, reason="asked_for")
            amount = GIVEN_BACK if turn == 3 else payment.amount
            self.refunds = [{**_named(said), "amount": Decimal128(amount), "reason": "asked_for"}]
            self.last_at = said.at
            self.status = "refunded" if Decimal(amount) == Decimal(payment.amount) else "completed"

    def try_by_itself(self, turn: int) -> None:
        """A transaction that no enrolment names: paid in parts, all or the first of them, or tried in vain."""
        token = "".join(self.writer.random.choices("abcdefghkmnp", k=12))  # as those that enrolments name
        self.transaction_id = f"by-{token}"
        self.completed_at = None
        if turn == 2:
            said = self.say(
                "payment_failed", amount=PART, currency=CURRENCY, method="card", reason="no_funds"
            )
            self.status, self.amount = "failed", PART
            self.failures = [_failure(said, "no_funds")]
            self._happened(said, said)
            return
        paid: list[Document] = []
        said_of: list[Said] = []
        for number in range(1, (PARTS if turn == 0 else 1) + 1):
            details = {"number": number, "of": PARTS, "amount": PART, "currency": CURRENCY, "method": "card"}
            said_of.append(self.say("instalment_paid", **details))
            paid.append({**_named(said_of[-1]), "number": number, "amount": Decimal128(PART)})
            self.writer.wait(days=1)
        self.amount = str(len(paid) * Decimal(PART))
        self.instalments = {"of": PARTS, "paid": paid}
        self.status = "completed" if turn == 0 else "pending"
        self._happened(said_of[0], said_of[-1])
        self.completed_at = said_of[-1].at if turn == 0 else None

    def _happened(self, first: Said, last: Said) -> None:
        self.first_at, self.last_at, self.event_id = first.at, last.at, first.event_id

    def expected(self) -> ExpectedDocument:
        """The row of the transaction."""
        given_back = self._given_back()
        fields = {
            "transaction_id": self.transaction_id,
            "user_id": ObjectId(self.enrolment.user_id),
            "course_id": ObjectId(self.enrolment.course_id),
            "amount": Decimal128(self.amount),
            "currency": self.currency,
            "payment_method": self.method,
            "status": self.status,
            "event_id": self.event_id,
            "created_at": self.first_at,
            "updated_at": self.last_at,
            "completed_at": self.completed_at,
            "refunded_amount": Decimal128(given_back) if self.refunds else None,
            "refunds": self.refunds,
            "instalments": self.instalments,
            "failures": self.failures,
            "without_effect": None,
        }
        return ExpectedDocument("billing_transactions", foreign_object_id(self.transaction_id), fields)

    def brought(self) -> Iterator[Paid]:
        """What is left of it, once all was paid."""
        if self.status in ("completed", "refunded"):
            yield Paid(self.enrolment.course_id, Decimal(self.amount) - self._given_back())

    def _given_back(self) -> Decimal:
        return sum((each["amount"].to_decimal() for each in self.refunds), Decimal(0))


def live_promotions(courses: Sequence[Course], term: datetime, random: Random) -> MoneyLife:
    """A promotion of each course, changed once; every second one is ended before its time. And one of all courses."""
    writer = Writer(random, "billing", term - timedelta(days=3))
    documents = [_promote(writer, course, term) for course in courses]
    documents.append(_promote_all(writer, term))
    return MoneyLife(writer.events, documents, ())


def _promote(writer: Writer, course: Course, term: datetime) -> ExpectedDocument:
    key = object_id(writer.random)
    ids = {"promotion_id": key}
    said: Document = {
        "code": f"AUTUMN-{key[:6].upper()}",
        "name": "Autumn sale",
        "course_id": course.course_id,
        "discount_percentage": 20,
        "starts_at": written(term),
        "expires_at": written(FAR_AHEAD),
    }
    first = writer.say("promotion_created", ids, said)
    last = writer.say("promotion_changed", ids, {"discount_percentage": 25})
    ended = None
    if course.number % 2:
        last = writer.say("promotion_ended", ids)
        ended = last.at
    fields = {
        **{name: said[name] for name in ("code", "name")},
        "course_id": ObjectId(course.course_id),
        "discount_percentage": 25,
        "amount": None,
        "currency": None,
        "starts_at": term,
        "expires_at": ended or FAR_AHEAD,
        "ended_at": ended,
        "created_at": first.at,
        "updated_at": last.at,
        "without_effect": None,
    }
    return ExpectedDocument("promotions", ObjectId(key), fields, may_be_gone=ended is not None)


def _promote_all(writer: Writer, term: datetime) -> ExpectedDocument:
    """An amount off every course."""
    key = object_id(writer.random)
    code = f"WELCOME-{key[:6].upper()}"
    dates = {"starts_at": written(term), "expires_at": written(FAR_AHEAD)}
    said = writer.say(
        "promotion_created",
        {"promotion_id": key},
        {"code": code, "amount": GIVEN_BACK, "currency": CURRENCY, **dates},
    )
    fields = {
        "code": code,
        "name": None,
        "course_id": None,
        "discount_percentage": None,
        "amount": Decimal128(GIVEN_BACK),
        "currency": CURRENCY,
        "starts_at": term,
        "expires_at": FAR_AHEAD,
        "ended_at": None,
        "created_at": said.at,
        "updated_at": said.at,
        "without_effect": None,
    }
    return ExpectedDocument("promotions", ObjectId(key), fields)


def _named(said: Said) -> Document:
    return {"event_id": said.event_id, "at": said.at}


def _failure(said: Said, reason: str) -> Document:
    return {**_named(said), "reason": reason}
