"""Holds a learner's projection against the record it was counted from: values of one snapshot in, findings out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from projections.counts import COUNTS_VERSION, Payment, count_learner
from worker.storage.outbox import notification_id
from worker.storage.refused_rows import row_item_id
from worker.verify.billing_audit import audit_payments
from worker.verify.findings import CheckResult, Fault, Finding, Kind, differs, malformed
from worker.verify.sameness import differing

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}
COUNTS = "counts"
_DIFFERS = "differs from its record in"
_OWNER = ("stream_id", "user_id", "course_id")


@dataclass(frozen=True, slots=True)
class Learner:
    """One learner in one course as one snapshot shows them: record and projection (not both absent).

    `payments` are those up to the counted version. `rows` are the ids of outbox rows, `billing` billing rows by
    transaction, both of any learners; `quarantined` are the open items of rows that the server refuses.
    """

    record: Document | None
    projection: Document | None
    payments: Sequence[Payment] = ()
    rows: frozenset[str] = frozenset()
    billing: Mapping[str, Document] = field(default_factory=dict)
    quarantined: frozenset[str] = frozenset()

    @property
    def revisions(self) -> tuple[Any, Any]:
        """What moves when the learner is folded or counted."""
        return (self.record or {}).get("rev"), (self.projection or {}).get("source_rev")


def check_learner(learner: Learner, served: int = 0) -> CheckResult:
    """Whether the projection is what its record says, and all it put out has its row.

    `served` is the newest version by which anybody counts now.
    """
    record, projection = learner.record, learner.projection
    if projection is not None and (unshaped := malformed("user_progress_projections", projection)):
        return CheckResult([unshaped])
    if record is None:
        subject = str(projection["stream_id"]) if projection else ""
        return CheckResult([Finding(COUNTS, Fault.UNKNOWN, subject, "projection without a record")])
    stream, since = str(record["stream_id"]), record["recorded_at"]
    if projection is None:
        return CheckResult(waiting=Finding(COUNTS, Fault.MISSING, stream, "not counted yet", since))
    if projection["counts_version"] > COUNTS_VERSION:
        detail = f"counted by version {projection['counts_version']}; this code is {COUNTS_VERSION}"
        newer = [Finding(COUNTS, Fault.NEWER, stream, detail)]
        return CheckResult(newer if projection["counts_version"] > served else (), other_version=True)
    rows = list(_audit_rows(stream, learner, projection))
    revisions = f"counted at revision {projection['source_rev']} of {record['rev']}"
    if projection["source_rev"] > record["rev"]:
        return CheckResult([Finding(COUNTS, Fault.AHEAD, stream, revisions), *rows])
    if projection["source_rev"] < record["rev"] or projection["counts_version"] < COUNTS_VERSION:
        # Whatever was counted, and by which version: whose it is does not change.
        others = [path for path in _OWNER if projection[path] != record[path]]
        behind = Finding(COUNTS, Fault.BEHIND, stream, revisions, since)
        return CheckResult([*differs(COUNTS, stream, _DIFFERS, others), *rows], behind)
    try:
        step = count_learner(record, None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"its record cannot be counted: {type(error).__name__}"
        return CheckResult([Finding(COUNTS, Fault.DIFFERENT, stream, detail), *rows])
    different = differing(step.projection, projection) if step else []
    return CheckResult([*differs(COUNTS, stream, _DIFFERS, different), *rows])


def _audit_rows(stream: str, learner: Learner, projection: Document) -> Iterator[Finding]:
    """Rows, or items of rows refused, are written with the projection that names them: one snapshot shows all."""
    for kind in MILESTONES:
        has_row = notification_id(kind, stream) in learner.rows
        excused = has_row or milestone_item(kind, projection) in learner.quarantined
        if kind in projection["emitted"] and not excused:
            yield Finding(Kind.NOTIFICATION, Fault.MISSING, stream, f"no row for {kind}")
    yield from audit_payments(stream, learner.payments, learner.billing, learner.quarantined)


def milestone_item(kind: str, projection: Document) -> str:
    """The item of a milestone's row, where the server refuses it."""
    return row_item_id(("welcome" if kind == "welcome" else "completion", projection["_id"]))
