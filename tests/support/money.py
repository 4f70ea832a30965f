"""Events of one transaction and of one promotion, decoded by the contract."""

from typing import Any
from uuid import NAMESPACE_OID, uuid5

from bson import ObjectId

from projections.event import StoredEvent
from tests.unit.projections.events import COURSE, STORED_AT, USER, moment, stored_document
from worker.contract import codec
from worker.contract.event import Event
from worker.contract.events.payments import PAYMENTS
from worker.contract.events.promotions import PROMOTIONS
from worker.contract.family import EventTypes
from worker.contract.source import Source
from worker.storage.documents import event_document

TRANSACTION = "txn_1"
PROMOTION = ObjectId("5f0000000000000000000009")
STARTS, EXPIRES, LATER = "2024-03-02T00:00:00Z", "2024-04-01T00:00:00Z", "2024-05-01T00:00:00Z"
_TYPES = EventTypes((PAYMENTS, PROMOTIONS))


def money_event(event_type: str, at: float, **fields: Any) -> Event:
    """An event about billing, `at` seconds into the story."""
    sent = {"event_type": event_type, "occurred_at": moment(at).isoformat(), **fields}
    value = codec.encode({"event_id": str(uuid5(NAMESPACE_OID, repr(sent))), **sent})
    decoded = codec.decode_event(value, timestamp=STORED_AT, types=_TYPES)
    assert isinstance(decoded, Event), decoded
    return decoded


def stored(event: Event, version: int = 0) -> StoredEvent:
    document = event_document(event, version, Source("billing-events", 0, version), STORED_AT, None)
    return StoredEvent.from_document(stored_document(document))


def billed(
    event_type: str, at: float = 0, *, user: ObjectId = USER, course: ObjectId = COURSE, **details: Any
) -> StoredEvent:
    """One event of the transaction."""
    whose = {"user_id": str(user), "course_id": str(course)}
    said = {"transaction_id": TRANSACTION, **details}
    return stored(money_event(event_type, at, **whose, details=said))


def made(at: float = 0, amount: str = "199.99", currency: str = "USD", **fields: Any) -> StoredEvent:
    return billed("payment_made", at, amount=amount, currency=currency, method="card", **fields)


def failed(at: float = 0, **fields: Any) -> StoredEvent:
    return billed("payment_failed", at, **fields)


def refund(at: float = 10, amount: str | None = None, **fields: Any) -> StoredEvent:
    said: dict[str, Any] = {} if amount is None else {"amount": amount}
    return billed("payment_refunded", at, **said, **fields)


def part(number: int, at: float = 0, amount: str = "50.00", of: int = 3, **fields: Any) -> StoredEvent:
    currency = fields.pop("currency", "USD")
    return billed("instalment_paid", at, number=number, of=of, amount=amount, currency=currency, **fields)


def promoted(event_type: str, at: float, **details: Any) -> StoredEvent:
    """One event of the promotion."""
    said = {"details": details} if details else {}
    return stored(money_event(event_type, at, promotion_id=str(PROMOTION), **said))


def created(at: float = 0, **details: Any) -> StoredEvent:
    discount = {} if "amount" in details else {"discount_percentage": 20}
    said = {"code": "SPRING", "starts_at": STARTS, "expires_at": EXPIRES, **discount, **details}
    return promoted("promotion_created", at, **said)


def golden_transaction() -> list[StoredEvent]:
    """Tried, paid, named again with another price, and given back in part."""
    return [failed(0, reason="declined"), made(10), made(20, "99.99"), refund(30, "50.00", reason="late")]


def golden_promotion() -> list[StoredEvent]:
    """Created, changed, and ended before its time."""
    changed = promoted("promotion_changed", 10, amount="15.00", currency="EUR", expires_at=LATER)
    return [created(0), changed, promoted("promotion_ended", 60)]
