"""The rows counting puts out: notifications of milestones, and billing rows of payments, each by its own key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from pymongo import UpdateOne

from projections.counts import Payment, Step, payment_in
from projections.event import StoredEvent
from worker.storage import reading
from worker.storage.billing import billing_upsert
from worker.storage.database import Database, Document
from worker.storage.outbox import is_late, notification_row
from worker.storage.transactions import Session
from worker.watch.counts_plan import Target
from worker.watch.counts_quarantine import Reason
from worker.watch.counts_writing import Unwritable, Write, concerning, write_each

# As many ranges of versions as the server reads at best in one query, by the index of streams.
_RANGES_PER_QUERY = 100
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]
# What `StoredEvent.from_document` reads of an enrolment.
_EVENT_PATHS = dict.fromkeys(
    (
        "stream_id",
        "version",
        "event_type",
        "event_data.user_id",
        "event_data.course_id",
        "event_data.details.payment",
        "personal.text",
        "curriculum",
        "occurred_at",
        "recorded_at",
        "schema_version",
    ),
    1,
)


async def write_notifications(
    database: Database, steps: Iterable[Step], now: datetime, within: timedelta, session: Session
) -> list[str]:
    """The outbox rows no earlier step has written; returns the kinds of those made now that will not be sent.

    `now` is the server's time. A milestone older than `within` is not announced any more.
    """
    writes: list[tuple[Target, Write]] = []
    rows: list[Document] = []
    for step in steps:
        learner = step.projection
        who = (learner["stream_id"], learner["user_id"], learner["course_id"])
        target: Target = ("learner", learner["_id"])
        with concerning(target):
            for reached in step.milestones:
                data = {"percentage": reached.percentage, "reached_at": reached.at}
                late = is_late(reached.at, now, within)
                row = notification_row(reached.kind, *who, by=reached.by, data=data, now=now, late=late)
                writes.append((target, UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True)))
                rows.append(row)
    result = await write_each(database.notifications, writes, session)
    made = result.upserted_ids or {} if result else {}
    return [rows[index]["kind"] for index in made if rows[index]["status"] == "suppressed"]


async def write_billing(database: Database, steps: Iterable[Step], session: Session) -> None:
    """The billing rows of payments no earlier step has put out, read from the events that name them."""
    writes: list[tuple[Target, Write]] = []
    payments = await _payments(database, [step for step in steps if step.unpaid], session)
    for learner, payment in payments:
        target: Target = ("learner", learner["_id"])
        with concerning(target):
            writes.append((target, billing_upsert(learner["user_id"], learner["course_id"], payment)))
    await write_each(database.billing_transactions, writes, session)


async def _payments(
    database: Database, steps: Sequence[Step], session: Session
) -> list[tuple[Document, Payment]]:
    """Each payment with the projection of its learner; the record counts them, so that nobody else's are read.

    Raises `Unwritable` for a learner with an event that cannot be read.
    """
    learners = {step.projection["stream_id"]: step.projection for step in steps}
    found: list[tuple[Document, Payment]] = []
    for start in range(0, len(steps), _RANGES_PER_QUERY):
        some = steps[start : start + _RANGES_PER_QUERY]
        query = {"$or": list(_ranges(some))}
        read = await reading.find(
            database.course_events, query, _EVENT_PATHS, hint=_EVENT_INDEX, session=session
        )
        taken = read.through(_payment)
        if taken.unreadable and len(some) == 1:
            reason = Reason("Unreadable", f"an event of the learner: {taken.unreadable[0].reason}")
            raise Unwritable(("learner", some[0].projection["_id"]), reason)
        if taken.unreadable:  # whose they are cannot be read from them
            for step in some:
                await _payments(database, [step], session)
        found += [(learners[stream], payment) for stream, payment in taken.values if payment is not None]
    return found


def _payment(event: Document) -> tuple[str, Payment | None]:
    return event["stream_id"], payment_in(StoredEvent.from_document(event))


def _ranges(steps: Iterable[Step]) -> Iterator[Mapping[str, object]]:
    for step in steps:
        if step.unpaid is not None:
            versions = {"$gt": step.unpaid.after, "$lte": step.unpaid.upto}
            yield {
                "stream_id": step.projection["stream_id"],
                "version": versions,
                "event_type": "course_enrolled",
            }
