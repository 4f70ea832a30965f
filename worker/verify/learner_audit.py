"""Compares a learner's projection and its rows with the record: values of one snapshot in, findings out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from projections.counts import Payment, count_learner
from projections.counts.projection import COUNTS
from worker.storage.outbox import notification_id
from worker.storage.refused_rows import row_item_id
from worker.verify.billing_audit import audit_payments
from worker.verify.findings import CheckResult, Fault, Finding, Kind
from worker.verify.sum_audit import Pair, check_counted

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}
_OWNER = ("stream_id", "user_id", "course_id")


@dataclass(frozen=True, slots=True)
class Learner(Pair):
    """One learner in one course as one snapshot shows them: record and projection (not both absent).

    `payments` are those up to the counted version. `rows` are the ids of outbox rows, `billing` billing rows by
    transaction, both of any learners; `quarantined_rows` are the open items of rows that the server refuses.
    """

    payments: Sequence[Payment] = ()
    rows: frozenset[str] = frozenset()
    billing: Mapping[str, Document] = field(default_factory=dict)
    quarantined_rows: frozenset[str] = frozenset()


def check_learner(learner: Learner, served: int = 0) -> CheckResult:
    """Whether the projection is what its record says, and all it put out has its row.

    `served` is the newest version by which anybody counts now.
    """
    record, projection = learner.record, learner.counted
    result = check_counted(COUNTS, learner, served, _OWNER, _counted_of)
    malformed = any(finding.fault is Fault.MALFORMED for finding in result.findings)
    if record is None or projection is None or malformed or result.other_version:
        return result
    rows = _audit_rows(str(record["stream_id"]), learner, projection)
    return replace(result, findings=[*result.findings, *rows])


def _counted_of(record: Document) -> Document:
    step = count_learner(record, None)
    return step.projection if step else {}


def _audit_rows(stream: str, learner: Learner, projection: Document) -> Iterator[Finding]:
    """Rows, or items of rows refused, are written with the projection that names them: one snapshot shows all."""
    for kind in MILESTONES:
        has_row = notification_id(kind, stream) in learner.rows
        excused = has_row or milestone_item(kind, projection) in learner.quarantined_rows
        if kind in projection["emitted"] and not excused:
            yield Finding(Kind.NOTIFICATION, Fault.MISSING, stream, f"no row for {kind}")
    yield from audit_payments(stream, learner.payments, learner.billing, learner.quarantined_rows)


def milestone_item(kind: str, projection: Document) -> str:
    """The item of a milestone's row, where the server refuses it."""
    return row_item_id(("welcome" if kind == "welcome" else "completion", projection["_id"]))
