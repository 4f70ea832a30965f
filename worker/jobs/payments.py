"""The job `payments`: enrolments of releases before, whose payments had no event of their own, get theirs.

Billing rows are made of the events of transactions. Ingest stores a payment's event with the enrolment that names it;
what was stored before, or by a worker of the release before, is made up for here.
"""

from collections.abc import Mapping, Sequence

from bson import ObjectId
from pydantic import JsonValue

from projections.event import upcast_document
from worker.contract.enrolment_payments import names_payment, refund_event
from worker.contract.identity import foreign_object_id
from worker.contract.source import source_of
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION
from worker.ingest.event_store import EventStore
from worker.ingest.payments import PaymentsStored, append_once, made_of, payments_of
from worker.ingest.record import Stored
from worker.ingest.versions import StreamVersions
from worker.jobs.context import JobContext
from worker.jobs.job import Job
from worker.jobs.naming import named
from worker.jobs.selected import SelectedStreams
from worker.kafka.record import Record
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.event_walk import EventPage, Place, walk_events
from worker.timing import backoff_s

_EVENTS_PER_STEP = 2_000
_BYTES_PER_STEP = 4_000_000
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.025, 2.0
_ENROLMENTS = ("course_enrolled",)
# What the platform has made of a payment's row by itself: no event of ours says so.
_UNDECIDED = ("pending", "failed")


class Payments(SelectedStreams):
    """The enrolments of which streams."""


async def payments(context: JobContext, arguments: Payments) -> Mapping[str, JsonValue]:
    """Walk over the enrolments, and store what their payments lack. A step that is done twice changes nothing.

    1. some enrolments that name a payment  2. what the platform made of their rows  3. their events  4. save the
    place. A row that the platform has marked `refunded` gets that as an event, too; one that is `pending` or `failed`
    stays as it is, and is named. A dry run counts what it would look at.
    """
    events = EventStore(context.database, StreamVersions(context.database), origin=context.run_id)
    selection = arguments.of.model_copy(update={"event_types": _ENROLMENTS})
    checkpoint = dict(context.checkpoint or {})
    left: list[str] = list(checkpoint.get("left", []))
    begin = Place.of(checkpoint)
    pages = walk_events(context.database, selection, begin, most=_EVENTS_PER_STEP, max_bytes=_BYTES_PER_STEP)
    async for page in pages:
        paid = _paid(page)  # 1
        rows = await _rows(context, paid)  # 2
        undecided = [each for each in paid if rows.get(_row_id(each.document)) in _UNDECIDED]
        left = named(
            left,
            [str(each.document["event_data"]["details"]["payment"]["transaction_id"]) for each in undecided],
        )
        decided = [each for each in paid if each not in undecided]
        done = PaymentsStored() if context.dry_run else await _store(context, events, decided, rows)  # 3
        counts = {"enrolments": len(paid), "stored": done.stored, "refused": len(done.refused)}
        place = {**page.place.document(), "left": left}
        await context.advance(len(page.events), place, **counts, left=len(undecided))  # 4
    return {"left": list(left)}


def _paid(page: EventPage) -> list[Stored]:
    """The page's enrolments that name a payment, in today's shape, with the place they came from."""
    found = []
    for event in page.events:
        is_old = event["schema_version"] < CURRENT_SCHEMA_VERSION
        document = dict(upcast_document(event)) if is_old else event
        source = document["metadata"]["source"]
        if source and names_payment(document):
            found.append(Stored(Record(source_of(source), None, None, None), document))
    return found


async def _rows(context: JobContext, paid: Sequence[Stored]) -> dict[ObjectId, str]:
    """The status of the rows that no event of a transaction has made yet."""
    wanted = {"_id": {"$in": [_row_id(each.document) for each in paid]}, "stream_id": {"$exists": False}}
    found = await reading.find(context.database.billing_transactions, wanted, {"status": 1})
    return {row["_id"]: str(row.get("status")) for row in found.documents}


def _row_id(enrolment: Document) -> ObjectId:
    return foreign_object_id(enrolment["event_data"]["details"]["payment"]["transaction_id"])


async def _store(
    context: JobContext, events: EventStore, paid: Sequence[Stored], rows: Mapping[ObjectId, str]
) -> PaymentsStored:
    done = PaymentsStored()

    async def pause(rounds: int) -> None:
        if rounds > 1:
            await context.clock.sleep(backoff_s(rounds + 1, _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))

    refunded = [each for each in paid if rows.get(_row_id(each.document)) == "refunded"]
    # First: a refund alone makes no row, so that one that is killed between the two still finds the platform's word.
    refunds = made_of(refunded, refund_event, done.refused, behind=2)
    await context.keep_alive()
    for some in (refunds, payments_of(paid, done.refused)):
        await append_once(events, some, done, recorded_at=context.clock.now(), pause=pause)
    return done


PAYMENTS = Job(
    name="payments",
    arguments=Payments,
    run=payments,
    about="events for the payments that enrolments of releases before name",
    differs=lambda outcome: bool(outcome.get("left")),
)
