"""The rows counting puts out: notifications of milestones, each by its own key.

One that the server refuses is quarantined by itself: the learner is counted without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pymongo import UpdateOne

from projections.counts import Milestone, Step, milestones_of
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.errors import translated
from worker.storage.outbox import is_late, notification_row
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.refused_rows import RowTarget, row_item_id
from worker.storage.work_items import COUNTS_ROW, Failed, Item, ItemId, Verdict
from worker.watch.sums.attempt import Attempt, Reason, Target, concerning
from worker.watch.sums.runner import Dependencies, Runner

_COLLECTION = "notifications"

# Of those that wait one by one.
_ROWS_PER_TRANSACTION = 10
_RECORD_PATHS: Mapping[str, Any] = dict.fromkeys(("stream_id", "user_id", "course_id", "milestones"), 1) | {
    "read_at": "$$NOW"
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the outbox to put out, under its `_id`."""

    target: RowTarget
    row_id: object
    stream_id: str
    write: UpdateOne
    suppressed: bool = False

    def quarantined(self, reason: Reason) -> Quarantined:
        """The item that says that the row is not there, and where to read it from once more."""
        data = {"collection": _COLLECTION, "id": self.row_id, "stream_id": self.stream_id, "version": None}
        return Quarantined(
            row_item_id(self.target), COUNTS_ROW, reason.error_class, reason.message, data=data
        )


async def write_rows(given: Dependencies, rows: Sequence[Row], attempt: Attempt) -> None:
    """Write the rows but for those the server has refused, which become items of the queue in the same transaction.

    Raises `RejectedWrite`, with the row as its target, for the first one that is refused now.
    """
    tried = [row for row in rows if row.target not in attempt.cooling]
    result = await attempt.write(given.database.notifications, [(row.target, row.write) for row in tried])
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
    return Row(target, row["_id"], stream, write, suppressed=silent)


class RejectedRows:
    """Writes rows that the server had refused, made again from the record.

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
        """The record the row follows from. Nothing for an item that names none.

        Nor for one about a payment, of a release before: such rows are folded from the events of their transactions.
        """
        stream, database = data.get("stream_id"), self._given.database
        if not isinstance(stream, str) or data.get("collection") != _COLLECTION:
            return reading.Reading("analytics_queue")
        record = {"_id": stream_object_id(stream)}
        return await reading.find(database.user_progress, record, _RECORD_PATHS)

    def _row(self, document: Document, data: Mapping[str, Any]) -> Row | None:
        now = document["read_at"]
        rows = (notification(document, each, now, self._within) for each in milestones_of(document))
        return next((row for row in rows if row.row_id == data["id"]), None)
