"""What an event has brought about as rows of its own: in the time series, in the outbox, and in billing."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from projections.billing import BILLING
from projections.counts import Milestone, milestones_of
from projections.event import StoredEvent
from projections.kinds import StreamProjection
from worker.contract.enrolment_payments import payment_event_id
from worker.contract.families import WITHOUT_ROW
from worker.contract.identity import foreign_object_id, stream_object_id
from worker.queries.stepwise import Step, StepwiseFold
from worker.queries.stream_reading import Broken, events_in_order
from worker.queries.trace.documents import Progressed
from worker.queries.trace.stops import NOT_KNOWN, NOT_THERE, THERE, WAITS, Items, Trace, waiting_for
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.outbox import notification_id
from worker.storage.reading import Unreadable
from worker.storage.refused_rows import row_item_id
from worker.storage.skipped_versions import skips_of
from worker.storage.work_items import fold_item_id

# Folded at once on the way to the event that is asked about.
_FOLDED_AT_ONCE = 1_000
_FOLLOWS = "it follows the row that counts the learner"
_MISSING = "the learner is counted, and there is no row: verify names it, a rebuild makes it"


async def trace_series_row(
    trace: Trace, database: Database, event: StoredEvent, *, acknowledged: bool | None
) -> None:
    """The row of the time series. `acknowledged`: the consumer group has the event's record behind it."""
    place = "user_interactions"
    if event.is_opening or event.user_id is None or event.event_type in WITHOUT_ROW:
        why = "it is an adopted record" if event.is_opening else "it is nothing that a learner did"
        trace.add(place, NOT_THERE, None, f"{why}: such events have no row")
        return
    query = {"metadata.user_id": event.user_id, "timestamp": event.occurred_at}
    found = await reading.find(database.user_interactions, query, {"_id": 1})
    number = sum(row["_id"] == event.event_id for row in found.documents)
    if number:
        twice = "" if number == 1 else f"{number} rows: verify names it"
        trace.add(place, THERE, event.event_id, twice, event.occurred_at)
    elif acknowledged is False:
        trace.add(
            place,
            WAITS,
            None,
            "rows are written behind the events, before the record is acknowledged: it is not",
        )
    elif acknowledged:
        why = "its record is acknowledged, and there is no row: verify names it, a rebuild makes it"
        trace.add(place, NOT_THERE, None, why)
    else:
        why = "no row of this id at the event's time: not written yet, or lost (verify tells)"
        trace.add(place, NOT_THERE, None, why)


async def step_of(database: Database, projection: StreamProjection, event: StoredEvent) -> Step | None:
    """The event's place in the fold; None where the events before it, or itself, cannot be folded."""
    fold, before = StepwiseFold(projection), list[StoredEvent]()
    skips = await skips_of(database, projection.name, [event.stream_id])
    in_order = events_in_order(database, event.stream_id, projection.event_paths, skips)
    async with aclosing(in_order) as events:
        async for each in events:
            if isinstance(each, Broken):
                return None
            try:
                if each.version >= event.version or len(before) >= _FOLDED_AT_ONCE:
                    fold.pass_over(before)
                    before.clear()
                if each.version >= event.version:
                    return fold.take(each)
            except Exception:  # whatever a fold raises: `explain` says where
                return None
            before.append(each)
    return None


async def trace_notifications(
    trace: Trace, database: Database, step: Step | None, items: Items, progressed: Progressed
) -> None:
    """The rows of the outbox of the milestones that this event has reached; `step` is its place in the fold."""
    if step is None:
        trace.add("notifications", NOT_KNOWN, None, "the events before it cannot be folded: see explain")
        return
    stream = step.event.stream_id
    before = {each.kind: each for each in milestones_of(step.before)}
    moved = [each for each in milestones_of(step.after) if _moved(before.get(each.kind), each)]
    if not moved:
        trace.add("notifications", NOT_THERE, None, "the event reached no milestone: nobody is told of it")
    for each in moved:
        key = notification_id(each.kind, stream)
        row = await reading.find_one(database.notifications, {"_id": key})
        if row is None:
            item = row_item_id((each.kind, stream_object_id(stream)))
            state, why = waiting_for(items, item, _MISSING if progressed.counted else _FOLLOWS)
            trace.add("notifications", NOT_THERE if progressed.counted else state, key, why)
        elif isinstance(row, Unreadable):
            trace.add("notifications", NOT_KNOWN, key, f"it cannot be read: {row.reason}")
        else:
            again = each.kind in before
            trace.add(
                "notifications",
                THERE,
                key,
                _told(row, again=again),
                row.get("sent_at") or row.get("created_at"),
            )


def _moved(before: Milestone | None, after: Milestone) -> bool:
    return before is None or before.at != after.at


def _told(row: Document, *, again: bool) -> str:
    status, channel, error = row.get("status"), row.get("channel"), row.get("last_error")
    by = f" by {channel}" if channel else ""
    why = (
        f": {error}"
        if error
        else ": a replay reached the milestone"
        if status == "suppressed" and not channel
        else ""
    )
    dated = "; made when another event reached the milestone: this one only dates it" if again else ""
    return f"{status}{by}{why}{dated}"


async def trace_payment(trace: Trace, database: Database, event: StoredEvent, items: Items) -> None:
    """The row of billing of the payment that an enrolment names, which follows from an event of its own."""
    place, transaction = "billing_transactions", _transaction(event)
    if transaction is None:
        trace.add(place, NOT_THERE, None, "the event names no payment")
        return
    row = await reading.find_one(database.billing_transactions, {"transaction_id": transaction})
    if isinstance(row, dict):
        trace.add(place, THERE, row["_id"], _paid(row, event), row.get("created_at"))
        return
    identity, named = foreign_object_id(transaction), payment_event_id(event.event_id)
    payment = await reading.find_one(database.course_events, {"_id": named}, {"_id": 1})
    if payment is None:
        why = f"the payment has no event of its own ({named}): verify names it, the job `payments` stores it"
        trace.add(place, NOT_THERE, identity, why)
        return
    state, why = waiting_for(items, _billing_item(transaction), f"it follows from event {named}")
    trace.add(place, state, identity, why)


def _transaction(event: StoredEvent) -> str | None:
    """The transaction that an enrolment names; None for any other event, and for one that makes no sense."""
    payment = event.details.get("payment") if event.event_type == "course_enrolled" else None
    named = payment.get("transaction_id") if isinstance(payment, Mapping) else None
    return named if isinstance(named, str) else None


def _billing_item(transaction: str) -> str:
    return fold_item_id(f"transaction_{foreign_object_id(transaction)}", BILLING.name)


def _paid(row: Mapping[str, Any], event: StoredEvent) -> str:
    status, named = row.get("status"), row.get("event_id")
    if named is None:
        return f"{status}; the platform wrote it"
    return (
        f"{status}"
        if named == event.event_id
        else f"{status}; another event was the first to name the transaction: {named}"
    )


def row_item_ids(event: StoredEvent) -> list[str]:
    """The ids of the items of the queue that may speak of these rows."""
    identity, transaction = stream_object_id(event.stream_id), _transaction(event)
    return [
        row_item_id(("welcome", identity)),
        row_item_id(("completion", identity)),
        *([] if transaction is None else [_billing_item(transaction)]),
    ]
