"""Whether what a row of the outbox carries was ever true: at some version of its stream, as events came in."""

from datetime import datetime
from typing import Any

from projections.event import StoredEvent
from projections.progress import fold, refold
from worker.storage.database import Database, Document
from worker.verify import reading
from worker.verify.learner_audit import MILESTONES
from worker.verify.outbox_audit import Announced


async def was_true(database: Database, announced: Announced) -> bool:
    """Fold the stream event by event until its milestone is what the row carries.

    For the few rows whose milestone has moved since: an event that happened before it came later. True where the
    stream cannot be folded, which is a finding of its own.
    """
    row = announced.row
    name, carried = MILESTONES[row["kind"]], row["data"]
    record: dict[str, Any] | None = None
    async for page in reading.stream_pages(database, row["stream_id"]):
        for event in page.documents:
            try:
                stored = [StoredEvent.from_document(event)]
                record = fold(record, stored, "replay") if record else refold(stored, None, "replay")
            except Exception:  # whatever it is, the stream's own check has reported it
                return True
            if (carried["reached_at"], carried["percentage"]) in _possible(record, name):
                return True
    return record is None


def _possible(record: Document, name: str) -> set[tuple[datetime, float]]:
    """What a row could carry at this version. Rows of the first version of counting had the percentage of then."""
    reached = record["milestones"][name]
    if reached is None:
        return set()
    return {(reached["at"], each) for each in (reached["percentage"], record["progress"]["percentage"])}
