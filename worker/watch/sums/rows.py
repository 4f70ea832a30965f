"""The rows counting puts out: notifications of milestones, and billing rows of payments, each by its own key.

One that the server refuses is quarantined by itself: the learner is counted without it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pymongo import UpdateOne

from projections.counts import Milestone, Step, milestones_of, payment_in
from projections.counts.projection import COUNTS
from projections.event import StoredEvent, read_paths
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.billing import billing_id, billing_upsert
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.outbox import is_late, notification_row
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.refused_rows import RowTarget, payment_target, row_item_id
from worker.storage.skipped_versions import skips_of
from worker.storage.work_items import COUNTS_ROW, Failed, Item, ItemId, Verdict
from worker.watch.sums.attempt import Attempt, Reason, RejectedWrite, Target, concerning
from worker.watch.sums.runner import Dependencies, Runner

_COLLECTIONS = ("notifications", "billing_transactions")

# As many ranges of versions as the server reads at best in one query, by the index of streams.
_RANGES_PER_QUERY = 100
# Of those that wait one by one.
_ROWS_PER_TRANSACTION = 10
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]
_EVENT_PATHS: Mapping[str, Any] = dict.fromkeys(read_paths(["payment"]), 1)
_RECORD_PATHS: Mapping[str, Any] = dict.fromkeys(("stream_id", "user_id", "course_id", "milestones"), 1) | {
    "read_at": "$$NOW"
}


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


async def write_rows(given: Dependencies, rows: Sequence[Row], attempt: Attempt) -> None:
    """Write the rows but for those the server has refused, which become items of the queue in the same transaction.

    Raises `RejectedWrite`, with the row as its target, for the first one that is refused now.
    """
    for name in _COLLECTIONS:
        tried = [row for row in rows if row.collection == name and row.target not in attempt.cooling]
        result = await attempt.write(
            given.database.collection(name), [(row.target, row.write) for row in tried]
        )
        made = result.upserted_ids or {} if result else {}
        attempt.suppressed += [tried[index].target[0] for index in made if tried[index].suppressed]
    refused = {row.target: row for row in rows if row.target in attempt.cooling}
    attempt.rejected.update((target, attempt.cooling[target]) for target in refused)
    items = [
        quarantine(row.quarantined(attempt.cooling[target]), given.code_version)
        for target, row in refused.items()
        if target not in attempt.retrying
    ]
    if items:
        with translated():
            await given.database.analytics_queue.bulk_write(items, session=attempt.session)


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


async def billing(database: Database, steps: Iterable[Step], attempt: Attempt) -> list[Row]:
    """The billing rows of payments no earlier step has put out, read from the events that name them.

    A record counts its payments, so that nobody else's events are read; what it leaves out is not paid for. Raises
    `RejectedWrite` for a learner with an event that cannot be read.
    """
    found: list[Row] = []
    paying = [step for step in steps if step.unpaid]
    for some in chunks(paying, _RANGES_PER_QUERY):
        streams = [step.projection["stream_id"] for step in some]
        skips = await skips_of(database, COUNTS.source, streams, attempt.session)
        query = skips.without_them({"$or": list(_ranges(some))})
        read = await attempt.find(
            database.course_events, query, _EVENT_PATHS, asked=len(paying), hint=_EVENT_INDEX
        )
        taken = read.through(lambda event: billing_row(StoredEvent.from_document(event)))
        if taken.unreadable and len(some) == 1:
            reason = Reason("Unreadable", f"an event of the learner: {taken.unreadable[0].reason}")
            raise RejectedWrite(("learner", some[0].projection["_id"]), reason)
        if taken.unreadable:  # whose they are cannot be read from them
            for step in some:
                await billing(database, [step], attempt)
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


class RejectedRows:
    """Writes rows that the server had refused, made again from the record or the event.

    May run twice, and beside counting: rows are upserts by their own keys. A milestone older than `notify_within` by
    now is not announced any more.
    """

    def __init__(self, given: Dependencies, notify_within: timedelta) -> None:
        self._given = given
        self._within = notify_within
        self._runner = Runner(given, _ROWS_PER_TRANSACTION)

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """Why rows still are not there that are asked for. Raises Retryable while MongoDB is away."""
        reasons = {item.id: await self._again(item.data) for item in items}
        return {
            identity: Failed(reason.error_class, reason.message)
            for identity, reason in reasons.items()
            if reason is not None
        }

    async def _again(self, data: Mapping[str, Any]) -> Reason | None:
        read = await self._source(data)
        taken = read.through(lambda document: self._row(document, data))
        if taken.unreadable:
            return Reason("Unreadable", f"a document in {read.collection}: {taken.unreadable[0].reason}")
        rows = {row.target: row for row in taken.values if row is not None}
        write, keys = partial(write_rows, self._given, [*rows.values()]), frozenset[Target](rows)
        async for attempt, _ in self._runner.run(keys, write, retrying=keys):
            for reason in attempt.rejected.values():
                return reason
        return None

    async def _source(self, data: Mapping[str, Any]) -> reading.Reading:
        """The document the row follows from: an event, or a record. Nothing for an item that names neither."""
        stream, database = data.get("stream_id"), self._given.database
        if not isinstance(stream, str):
            return reading.Reading("analytics_queue")
        if data.get("collection") == "billing_transactions":
            query = {"stream_id": stream, "version": data.get("version")}
            return await reading.find(database.course_events, query, _EVENT_PATHS, hint=_EVENT_INDEX)
        record = {"_id": stream_object_id(stream)}
        return await reading.find(database.user_progress, record, _RECORD_PATHS)

    def _row(self, document: Document, data: Mapping[str, Any]) -> Row | None:
        if "version" in document:
            return billing_row(StoredEvent.from_document(document))
        now = document["read_at"]
        rows = (notification(document, each, now, self._within) for each in milestones_of(document))
        return next((row for row in rows if row.row_id == data["id"]), None)
