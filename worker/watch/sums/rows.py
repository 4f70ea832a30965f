"""The rows counting puts out: notifications of milestones, and billing rows of payments, each by its own key.

One that the server refuses is quarantined by itself: the learner is counted without it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymongo import UpdateOne

from projections.counts import Milestone, Step, payment_in
from projections.event import StoredEvent
from worker.chunks import chunks
from worker.storage.billing import billing_id, billing_upsert
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.outbox import is_late, notification_row
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.refused_rows import RowTarget, payment_target, row_item_id
from worker.storage.transactions import Session
from worker.storage.work_items import COUNTS_ROW
from worker.watch.sums.quarantine import Reason
from worker.watch.sums.reading import Allowance
from worker.watch.sums.writing import RejectedWrite, concerning, write_each

_COLLECTIONS = ("notifications", "billing_transactions")

# As many ranges of versions as the server reads at best in one query, by the index of streams.
_RANGES_PER_QUERY = 100
EVENT_INDEX = [("stream_id", 1), ("version", 1)]
# What `StoredEvent.from_document` reads of an enrolment.
EVENT_PATHS = dict.fromkeys(
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


@dataclass(frozen=True, slots=True)
class Row:
    """One row to put out: into which collection, under which `_id`, and the event whose payment it is, if any."""

    target: RowTarget
    collection: str
    row_id: object
    stream_id: str
    version: int | None
    write: UpdateOne
    suppressed: bool = False

    def quarantined(self, reason: Reason) -> Quarantined:
        """The item that says that the row is not there, and where to read it from once more."""
        data = {
            "collection": self.collection,
            "id": self.row_id,
            "stream_id": self.stream_id,
            "version": self.version,
        }
        return Quarantined(
            row_item_id(self.target), COUNTS_ROW, reason.error_class, reason.message, data=data
        )


@dataclass(frozen=True, slots=True)
class RowsWritten:
    """`suppressed` are the kinds of notifications made now that will not be sent; `quarantined` the rows left out."""

    suppressed: Sequence[str] = ()
    quarantined: Mapping[RowTarget, Reason] = field(default_factory=dict)


async def write_rows(
    database: Database,
    rows: Sequence[Row],
    rejected: Mapping[RowTarget, Reason],
    code_version: str,
    session: Session,
) -> RowsWritten:
    """Write the rows but for those the server has refused, which become items of the queue in the same transaction.

    Raises `RejectedWrite`, with the row as its target, for the first one that is refused now.
    """
    suppressed: list[str] = []
    for name in _COLLECTIONS:
        tried = [row for row in rows if row.collection == name and row.target not in rejected]
        writes = [(row.target, row.write) for row in tried]
        result = await write_each(database.collection(name), writes, session)
        made = result.upserted_ids or {} if result else {}
        suppressed += [tried[index].target[0] for index in made if tried[index].suppressed]
    quarantined = {row.target: rejected[row.target] for row in rows if row.target in rejected}
    items = [
        quarantine(row.quarantined(rejected[row.target]), code_version)
        for row in rows
        if row.target in quarantined
    ]
    if items:
        with translated():
            await database.analytics_queue.bulk_write(items, session=session)
    return RowsWritten(suppressed, quarantined)


def notifications(steps: Iterable[Step], now: datetime, within: timedelta) -> list[Row]:
    """The outbox rows no earlier step has written.

    `now` is the server's time. A milestone older than `within` is not announced any more.
    """
    rows: list[Row] = []
    for step in steps:
        learner = step.projection
        with concerning(("learner", learner["_id"])):
            rows += [notification(learner, reached, now, within) for reached in step.milestones]
    return rows


def notification(learner: Document, reached: Milestone, now: datetime, within: timedelta) -> Row:
    """The outbox row of one milestone of a learner, given by record or projection."""
    stream = learner["stream_id"]
    row = notification_row(
        reached.kind,
        stream,
        learner["user_id"],
        learner["course_id"],
        by=reached.by,
        data={"percentage": reached.percentage, "reached_at": reached.at},
        now=now,
        late=is_late(reached.at, now, within),
    )
    write = UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True)
    target: RowTarget = (reached.kind, learner["_id"])
    silent = row["status"] == "suppressed"
    return Row(target, "notifications", row["_id"], stream, None, write, suppressed=silent)


async def billing(
    database: Database, steps: Iterable[Step], allowance: Allowance, session: Session
) -> list[Row]:
    """The billing rows of payments no earlier step has put out, read from the events that name them."""
    return await _payments(database, [step for step in steps if step.unpaid], allowance, session)


def billing_row(event: StoredEvent) -> Row | None:
    """The billing row of the payment that an event names; None for one that names none."""
    payment = payment_in(event)
    if payment is None:
        return None
    if event.user_id is None or event.course_id is None:
        raise ValueError("a payment of nobody")
    return Row(
        payment_target(payment.event_id),
        "billing_transactions",
        billing_id(payment.transaction_id),
        event.stream_id,
        event.version,
        billing_upsert(event.user_id, event.course_id, payment),
    )


async def _payments(
    database: Database, steps: Sequence[Step], allowance: Allowance, session: Session
) -> list[Row]:
    """The rows of these learners; the record counts its payments, so that nobody else's events are read.

    Raises `RejectedWrite` for a learner with an event that cannot be read.
    """
    found: list[Row] = []
    for some in chunks(steps, _RANGES_PER_QUERY):
        query = {"$or": list(_ranges(some))}
        read = await allowance.find(
            database.course_events, query, EVENT_PATHS, session, asked=len(steps), hint=EVENT_INDEX
        )
        taken = read.through(lambda event: billing_row(StoredEvent.from_document(event)))
        if taken.unreadable and len(some) == 1:
            reason = Reason("Unreadable", f"an event of the learner: {taken.unreadable[0].reason}")
            raise RejectedWrite(("learner", some[0].projection["_id"]), reason)
        if taken.unreadable:  # whose they are cannot be read from them
            for step in some:
                await _payments(database, [step], allowance, session)
        found += [row for row in taken.values if row is not None]
    return found


def _ranges(steps: Iterable[Step]) -> Iterator[Mapping[str, object]]:
    for step in steps:
        if step.unpaid is not None:
            versions = {"$gt": step.unpaid.after, "$lte": step.unpaid.upto}
            yield {
                "stream_id": step.projection["stream_id"],
                "version": versions,
                "event_type": "course_enrolled",
            }
