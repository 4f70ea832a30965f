"""What one transaction of counting does with the learners it read: a step each, or why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bson import ObjectId

from projections.counts import COUNTS_VERSION, Step, count_learner
from worker.storage.database import Document
from worker.storage.reading import Reading
from worker.watch.sums.plan import Target
from worker.watch.sums.quarantine import Reason, Rejections, unreadable
from worker.watch.sums.rows import RowsWritten


@dataclass(frozen=True, slots=True)
class Counting:
    """What one transaction found: steps taken, records counted before, and documents it left out.

    `read_at` is the server's time of the reading; `rows` is what became of outbox and billing rows; `lost` are
    records that went back behind what was counted of them. `has_room`: twice as much could have been read.
    """

    steps: list[Step] = field(default_factory=list)
    stale: int = 0
    rejected: dict[Target, Reason] = field(default_factory=dict)
    read_at: datetime | None = None
    rows: RowsWritten = field(default_factory=RowsWritten)
    has_room: bool = True
    lost: Mapping[ObjectId, str] = field(default_factory=dict)
    frozen: frozenset[ObjectId] = frozenset()

    @property
    def failed(self) -> int:
        """Learners that were left out."""
        return sum(kind == "learner" for kind, _ in self.rejected)


def take_steps(
    records: Reading, known: Reading, rejections: Rejections, gone: Mapping[ObjectId, str]
) -> Counting:
    """Each learner's step; one whose record or projection nobody can read, or no fold wrote, is left out alone."""
    projections = {document["_id"]: document for document in known.documents}
    left_out = rejections.keys() | unreadable("learner", known.unreadable).keys()
    left_out |= {("learner", identity) for identity in gone}
    tried = replace(
        records, documents=[each for each in records.documents if ("learner", each["_id"]) not in left_out]
    )
    taken = tried.through(lambda record: _step(record, projections.get(record["_id"])))
    found = {("learner", each["_id"]) for each in records.documents}
    rejected = {target: reason for target, reason in rejections.items() if target in found}
    rejected |= unreadable("learner", [*taken.unreadable, *known.unreadable])
    steps = [step for step in taken.values if step is not None]
    read_at = max((record["read_at"] for record in records.documents), default=None)
    stale = len(taken.values) - len(steps)
    frozen = frozenset(
        record["_id"] for record in tried.documents if _is_frozen(record, projections.get(record["_id"], {}))
    )
    return Counting(steps, stale=stale, rejected=rejected, read_at=read_at, lost=gone, frozen=frozen)


def _is_frozen(record: Mapping[str, Any], projection: Mapping[str, Any]) -> bool:
    """True where newer code counted it, and the record has moved on."""
    version = projection.get("counts_version")
    moved = projection.get("last_event_version") != record.get("version")
    return isinstance(version, int) and version > COUNTS_VERSION and moved


def _step(record: Document, projection: Document | None) -> Step | None:
    """`count_learner`, for documents that somebody else may have written to."""
    step = count_learner(record, projection)
    if step is None:
        return None
    new = step.projection
    if not isinstance(new["user_id"], ObjectId) or not isinstance(new["course_id"], ObjectId):
        raise TypeError("a record of nobody, or of no course")
    if projection is not None and not isinstance(step.counted_rev, int):
        raise TypeError("a projection without a revision")
    return step
