"""The specification's billing transaction: rebuilt by a payment of its own, and by the enrolment that names it."""

import pytest

from projections.billing import BILLING
from projections.event import StoredEvent
from tests.spec.compare import sample, unexplained
from tests.spec.extract import paths
from tests.support.money import TRANSACTION, made, stored
from tests.unit.projections.events import arrive, course_event, event, stored_document
from worker.contract.enrolment_payments import payment_event
from worker.contract.event import Event
from worker.contract.identity import foreign_object_id
from worker.verify.shapes import misfits_of

PAID = {"transaction_id": TRANSACTION, "amount": "199.99", "currency": "USD", "method": "card"}


def of_an_enrolment() -> StoredEvent:
    """What ingest makes of an enrolment that names the payment."""
    enrolment = course_event(event("course_enrolled", details={"payment": PAID}))
    payment = payment_event(enrolment)
    assert isinstance(payment, Event)
    return stored(payment)


@pytest.mark.parametrize("named_by", [made(), of_an_enrolment()], ids=["payment", "enrolment"])
def test_events_rebuild_the_transaction_of_the_specification(named_by: StoredEvent) -> None:
    wanted = sample("billing_transactions")
    row = BILLING.refold(arrive([named_by]), None, "live")
    document = stored_document({"_id": foreign_object_id(TRANSACTION), "rev": 1, **row})

    assert unexplained(wanted, document, {}) == []
    assert {*paths(wanted)} <= {*paths(document)}
    assert misfits_of(BILLING.target.shapes, document) == []
    assert document["without_effect"] is None
