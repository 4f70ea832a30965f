"""Holds a learner's projection against the record it was counted from: values of one snapshot in, findings out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from projections.counts import COUNTS_VERSION, Payment, Step, count_learner
from worker.storage.outbox import notification_id
from worker.storage.refused_rows import row_item_id
from worker.verify.billing_audit import payment_faults
from worker.verify.findings import Finding, FindingKind, subject_of
from worker.verify.sameness import differing
from worker.verify.shapes import misfits, told

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}
_OWNER = ("stream_id", "user_id", "course_id")


@dataclass(frozen=True, slots=True)
class Judged:
    """What is wrong; what merely waits to be counted; and whether other code counted it, which is not compared.

    `since` says from when on what waits could have been done, where that is known.
    """

    findings: Sequence[Finding] = ()
    late: Finding | None = None
    since: datetime | None = None
    other_version: bool = False


@dataclass(frozen=True, slots=True)
class Learner:
    """One learner in one course as one snapshot shows them: record and projection (not both absent).

    `payments` are those up to the counted version. `rows` are the ids of outbox rows, `billing` billing rows by
    transaction, both of any learners; `aside` are the open items of rows that the server refuses.
    """

    record: Document | None
    projection: Document | None
    payments: Sequence[Payment] = ()
    rows: frozenset[str] = frozenset()
    billing: Mapping[str, Document] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()

    @property
    def revisions(self) -> tuple[Any, Any]:
        """What moves when the learner is folded or counted."""
        return (self.record or {}).get("rev"), (self.projection or {}).get("source_rev")


def judge_learner(learner: Learner, served: int = 0) -> Judged:
    """Whether the projection is what its record says, and all it put out has its row.

    `served` is the newest version by which anybody counts now.
    """
    record, projection = learner.record, learner.projection
    if projection is not None and (paths := misfits("user_progress_projections", projection)):
        subject = subject_of("user_progress_projections", projection)
        return Judged([Finding(FindingKind.DOCUMENT_MALFORMED, subject, told(paths))])
    if record is None:
        subject = str(projection["stream_id"]) if projection else ""
        return Judged([Finding(FindingKind.PROJECTION_UNKNOWN, subject, "projection without a record")])
    stream, since = str(record["stream_id"]), record["recorded_at"]
    if projection is None:
        return Judged(late=Finding(FindingKind.PROJECTION_MISSING, stream, "not counted yet"), since=since)
    if projection["counts_version"] > COUNTS_VERSION:
        detail = f"counted by version {projection['counts_version']}; this code is {COUNTS_VERSION}"
        newer = [Finding(FindingKind.PROJECTION_NEWER, stream, detail)]
        return Judged(newer if projection["counts_version"] > served else (), other_version=True)
    rows = list(_row_faults(stream, learner, projection))
    revisions = f"counted at revision {projection['source_rev']} of {record['rev']}"
    if projection["source_rev"] > record["rev"]:
        return Judged([Finding(FindingKind.PROJECTION_AHEAD, stream, revisions), *rows])
    if projection["source_rev"] < record["rev"] or projection["counts_version"] < COUNTS_VERSION:
        late = Finding(FindingKind.PROJECTION_BEHIND, stream, revisions)
        return Judged([*_owner_faults(stream, record, projection), *rows], late, since)
    try:
        step = count_learner(record, None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"its record cannot be counted: {type(error).__name__}"
        return Judged([Finding(FindingKind.PROJECTION_DIFFERENT, stream, detail), *rows])
    return Judged([*_projection_faults(stream, step, projection), *rows])


def _projection_faults(stream: str, step: Step | None, projection: Document) -> Iterator[Finding]:
    different = differing(step.projection, projection) if step else []
    if different:
        detail = f"differs from its record in {', '.join(different)}"
        yield Finding(FindingKind.PROJECTION_DIFFERENT, stream, detail)


def _owner_faults(stream: str, record: Document, projection: Document) -> Iterator[Finding]:
    """Whatever was counted, and by which version: whose it is does not change."""
    if different := [path for path in _OWNER if projection[path] != record[path]]:
        detail = f"differs from its record in {', '.join(different)}"
        yield Finding(FindingKind.PROJECTION_DIFFERENT, stream, detail)


def _row_faults(stream: str, learner: Learner, projection: Document) -> Iterator[Finding]:
    """Rows, or items of rows refused, are written with the projection that names them: one snapshot shows all."""
    for kind in MILESTONES:
        excused = milestone_item(kind, projection) in learner.aside
        if (
            kind in projection["emitted"]
            and notification_id(kind, stream) not in learner.rows
            and not excused
        ):
            yield Finding(FindingKind.NOTIFICATION_MISSING, stream, f"no row for {kind}")
    yield from payment_faults(stream, learner.payments, learner.billing, learner.aside)


def milestone_item(kind: str, projection: Document) -> str:
    """The item of a milestone's row, where the server refuses it."""
    return row_item_id(("welcome" if kind == "welcome" else "completion", projection["_id"]))
