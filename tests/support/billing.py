"""What ingest and the role progress make of stored enrolments that name a payment: its event, and its row."""

from collections.abc import Iterable

from bson import ObjectId
from bson.decimal128 import Decimal128

from projections.billing import BILLING
from tests.support.counts import counter, dependencies, nothing
from worker.contract.identity import foreign_object_id
from worker.contract.source import source_of
from worker.ingest.event_store import EventStore
from worker.ingest.payments import PaymentsStored, store_payments
from worker.ingest.record import Stored
from worker.ingest.versions import StreamVersions
from worker.kafka.record import Record
from worker.storage.database import Database, Document
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.projector import Projector
from worker.watch.sums.declared import SOURCE

PAID: Document = {"event_type": "course_enrolled", "event_data.details.payment": {"$exists": True}}


async def at_once(_rounds: int) -> None:
    """Nobody else writes."""


def row_of_before(enrolment: Document, status: str) -> Document:
    """The row that a release before wrote of a stored enrolment, with what the platform has made of it since."""
    payment = enrolment["event_data"]["details"]["payment"]
    return {
        "_id": foreign_object_id(payment["transaction_id"]),
        "event_id": enrolment["_id"],
        "user_id": enrolment["event_data"]["user_id"],
        "course_id": enrolment["event_data"]["course_id"],
        "amount": Decimal128(payment["amount"]),
        "currency": payment["currency"],
        "payment_method": payment["method"],
        "status": status,
        "transaction_id": payment["transaction_id"],
        "created_at": enrolment["occurred_at"],
    }


async def append_payments(database: Database, enrolments: Iterable[Document] | None = None) -> PaymentsStored:
    """Store the payments of these enrolments, of all that are stored if none are given."""
    found = list(enrolments or await database.course_events.find(PAID).to_list(None))
    stored = [Stored(Record(source_of(each["metadata"]["source"]), None, None, None), each) for each in found]
    events = EventStore(database, StreamVersions(database))
    recorded_at = max((each["recorded_at"] for each in found), default=SystemClock().now())
    rows = database.billing_transactions
    return await store_payments(events, rows, stored, recorded_at=recorded_at, pause=at_once)


async def fold_rows(database: Database) -> None:
    """Bring the rows of all transactions up to their events."""
    streams = await database.course_events.distinct("stream_id", {"stream_id": {"$regex": "^transaction_"}})
    clock, metrics = SystemClock(), Metrics(catalogue=database.catalogue)
    given = FoldDependencies(database, BILLING, clock, metrics, nothing, nothing, "test")
    await Projector(given).project(await highest_versions(database, streams))


async def bill(database: Database, enrolments: Iterable[Document] | None = None) -> None:
    """Both, and what is paid for each course."""
    await append_payments(database, enrolments)
    await fold_rows(database)
    await sum_revenue(database)


async def sum_revenue(database: Database) -> None:
    """Sum what is paid for courses, and show it of their instructors."""
    given = dependencies(database)
    try:
        rows = await database.billing_transactions.distinct("_id")
        await counter(given, name="revenue").count(frozenset((SOURCE, each) for each in rows))
        courses: list[ObjectId] = await database.collection("course_revenue").distinct("_id")
        await counter(given).count(frozenset(("revenue", each) for each in courses))
    finally:
        await given.transactions.close()
