"""The job `payments`: enrolments of releases before, whose payments had no event of their own, get theirs.

Billing rows are made of the events of transactions. Ingest stores a payment's event with the enrolment that names it;
what was stored before, or by a worker of the release before, is made up for here.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from projections.event import upcast_document
from worker.contract.enrolment_payments import names_payment
from worker.contract.source import source_of
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION
from worker.ingest.event_store import EventStore
from worker.ingest.payments import PaymentsStored, left_undecided, marked_rows, store_payments
from worker.ingest.record import Stored
from worker.ingest.versions import StreamVersions
from worker.jobs.context import JobContext
from worker.jobs.job import Job
from worker.jobs.naming import named
from worker.jobs.selected import SelectedStreams
from worker.kafka.record import Record
from worker.storage.event_walk import EventPage, Place, walk_events
from worker.timing import backoff_s

_EVENTS_PER_STEP = 2_000
_BYTES_PER_STEP = 4_000_000
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.025, 2.0
_ENROLMENTS = ("course_enrolled",)


class Payments(SelectedStreams):
    """The enrolments of which streams."""


async def payments(context: JobContext, arguments: Payments) -> Mapping[str, JsonValue]:
    """Walk over the enrolments, and store what their payments lack. A step that is done twice changes nothing.

    1. some enrolments that name a payment  2. their events  3. save the place. A row that the platform has marked
    `refunded` gets that as an event, too; one that is `pending` or `failed` stays as it is, and is named. A dry run
    counts what it would look at.
    """
    events = EventStore(context.database, StreamVersions(context.database), origin=context.run_id)
    selection = arguments.of.model_copy(update={"event_types": _ENROLMENTS})
    checkpoint = dict(context.checkpoint or {})
    left: list[str] = list(checkpoint.get("left", []))
    begin = Place.of(checkpoint)
    pages = walk_events(context.database, selection, begin, most=_EVENTS_PER_STEP, max_bytes=_BYTES_PER_STEP)
    async for page in pages:
        paid = _paid(page)  # 1
        if context.dry_run:
            enrolments = [each.document for each in paid]
            marked = await marked_rows(context.database.billing_transactions, enrolments)
            done = PaymentsStored(left=left_undecided(enrolments, marked))
        else:
            done = await _store(context, events, paid)  # 2
        left, number = named(left, done.left), len(done.left)
        counts = {"enrolments": len(paid), "stored": done.stored, "refused": len(done.refused)}
        place = {**page.place.document(), "left": left}
        await context.advance(len(page.events), place, **counts, left=number)  # 3
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


async def _store(context: JobContext, events: EventStore, paid: Sequence[Stored]) -> PaymentsStored:
    async def pause(rounds: int) -> None:
        if rounds > 1:
            await context.clock.sleep(backoff_s(rounds + 1, _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))

    await context.keep_alive()
    rows, now = context.database.billing_transactions, context.clock.now()
    return await store_payments(events, rows, paid, recorded_at=now, pause=pause)


PAYMENTS = Job(
    name="payments",
    arguments=Payments,
    run=payments,
    about="events for the payments that enrolments of releases before name",
    differs=lambda outcome: bool(outcome.get("left")),
)
