"""The payment that an enrolment names, as an event of its own."""

from typing import Any
from uuid import UUID

from bson import ObjectId

from tests.unit.projections.events import COURSE, STORED_AT, USER, moment
from worker.contract import codec
from worker.contract.enrolment_payments import names_payment, payment_event, payment_event_id, refund_event
from worker.contract.event import Event
from worker.contract.events.payments import PAYMENTS
from worker.contract.family import EventTypes
from worker.contract.identity import foreign_object_id
from worker.contract.rejection import Rejected
from worker.contract.source import Source
from worker.storage.documents import event_document

PAYMENT = {"transaction_id": "txn_1", "amount": "199.99", "currency": "USD", "method": "card"}


def enrolment(**details: Any) -> dict[str, Any]:
    """A stored enrolment."""
    sent = {
        "event_id": str(UUID(int=5)),
        "event_type": "course_enrolled",
        "occurred_at": moment(0).isoformat(),
        "user_id": str(USER),
        "course_id": str(COURSE),
        "details": {"total_lessons": 3, **details},
    }
    event = codec.decode_event(codec.encode(sent), timestamp=STORED_AT)
    assert isinstance(event, Event)
    return event_document(event, 1, Source("interaction-events", 0, 7), STORED_AT, None)


def paid(document: dict[str, Any]) -> Event:
    event = payment_event(document)
    assert isinstance(event, Event), event
    return event


def test_a_payment_says_what_the_enrolment_says() -> None:
    event = paid(enrolment(payment=PAYMENT))
    assert event.event_id == payment_event_id(UUID(int=5))
    assert (event.event_type, event.occurred_at) == ("payment_made", moment(0))
    assert (event.user_id, event.course_id) == (USER, COURSE)
    assert event.details == {**PAYMENT, "enrolment_id": str(UUID(int=5))}
    assert event.stream_id == f"transaction_{foreign_object_id('txn_1')}"


def test_the_same_enrolment_gives_the_same_payment_whoever_makes_it() -> None:
    """A producer who published it would be told that it is a duplicate."""
    event = paid(enrolment(payment={**PAYMENT, "further": "unknown to the worker"}))
    assert event == paid(enrolment(payment=PAYMENT))
    published = {
        "event_id": str(event.event_id),
        "event_type": event.event_type,
        "occurred_at": "2024-03-01T10:00:00+01:00",
        "user_id": str(USER),
        "course_id": str(COURSE),
        "details": event.details,
    }
    again = codec.decode_event(codec.encode(published), timestamp=STORED_AT, types=EventTypes((PAYMENTS,)))
    assert isinstance(again, Event)
    assert again.fingerprint == event.fingerprint


def test_no_id_looks_like_a_card_number() -> None:
    """Of an enrolment whose id consists of nothing but digits that some issuer may have, with their check digit."""
    document = enrolment(payment=PAYMENT)
    document["_id"] = UUID("41111111-1111-4111-8000-000000000000")
    document["event_data"]["user_id"] = ObjectId("411111111111111100000000")
    assert isinstance(payment_event(document), Event)


def test_an_enrolment_without_payment_names_none() -> None:
    assert names_payment(enrolment(payment=PAYMENT))
    assert not names_payment(enrolment())
    bare = enrolment()
    del bare["event_data"]["details"]
    assert not names_payment(bare)


def test_what_the_platform_gave_back_is_an_event_right_after_the_payment() -> None:
    refund = refund_event(enrolment(payment=PAYMENT))
    assert isinstance(refund, Event)
    assert refund.occurred_at > moment(0)
    assert refund.details == {"transaction_id": "txn_1", "currency": "USD", "reason": "platform"}
    assert not isinstance(refund, Rejected)
