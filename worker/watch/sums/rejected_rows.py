"""Rows of outbox and billing that the server refused, tried again: made again from the record or the event."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pymongo.errors import BulkWriteError

from projections.counts import milestones_of
from projections.event import StoredEvent
from worker.contract.identity import stream_object_id
from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated, write_failures
from worker.telemetry.metrics import Metrics, NotificationOutcome
from worker.watch.sums.quarantine import Reason
from worker.watch.sums.rows import EVENT_INDEX, EVENT_PATHS, Row, billing_row, notification

_RECORD_PATHS: Mapping[str, Any] = dict.fromkeys(("stream_id", "user_id", "course_id", "milestones"), 1) | {
    "read_at": "$$NOW"
}


class RejectedRows:
    """Writes the rows that were quarantined. May run twice, and beside counting: rows are upserts by their own keys.

    A milestone older than `notify_within` by now is not announced any more.
    """

    def __init__(self, database: Database, metrics: Metrics, notify_within: timedelta) -> None:
        self._database = database
        self._metrics = metrics
        self._within = notify_within

    async def __call__(self, data: Mapping[str, Any]) -> Reason | None:
        """Why the row an item is about still is not there; None if it is, or nothing asks for it any more.

        `data` is that of the item. Raises Retryable while MongoDB is away.
        """
        read = await self._source(data)
        taken = read.through(lambda document: self._row(document, data))
        if taken.unreadable:
            return Reason("Unreadable", f"a document in {read.collection}: {taken.unreadable[0].reason}")
        for row in taken.values:
            if row is not None and (reason := await self._write(row)) is not None:
                return reason
        return None

    async def _source(self, data: Mapping[str, Any]) -> reading.Reading:
        """The document the row follows from: an event, or a record. Nothing for an item that names neither."""
        stream, version = data.get("stream_id"), data.get("version")
        if not isinstance(stream, str):
            return reading.Reading("analytics_queue")
        if data.get("collection") == "billing_transactions":
            query = {"stream_id": stream, "version": version}
            return await reading.find(self._database.course_events, query, EVENT_PATHS, hint=EVENT_INDEX)
        record = {"_id": stream_object_id(stream)}
        return await reading.find(self._database.user_progress, record, _RECORD_PATHS)

    def _row(self, document: Document, data: Mapping[str, Any]) -> Row | None:
        if "version" in document:
            return billing_row(StoredEvent.from_document(document))
        rows = (
            notification(document, reached, document["read_at"], self._within)
            for reached in milestones_of(document)
        )
        return next((row for row in rows if row.row_id == data["id"]), None)

    async def _write(self, row: Row) -> Reason | None:
        try:
            with translated():
                result = await self._database.collection(row.collection).bulk_write([row.write])
        except BulkWriteError as error:
            failure = write_failures(error)[0]
            if failure.duplicate and "_id" in failure.key_pattern:
                return None  # somebody was faster
            return Reason("Refused", f"{row.collection} refuses the row (code {failure.code})")
        except Refused as error:
            return Reason("Refused", str(error))
        if result.upserted_ids and row.suppressed:
            self._metrics.notifications_total.labels(row.target[0], NotificationOutcome.SUPPRESSED).inc()
        return None
