"""Compares a learner's projection and its rows with the record: values of one snapshot in, findings out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from projections.counts import Payment, count_learner
from projections.counts.projection import COUNTS
from worker.storage.outbox import notification_id
from worker.storage.refused_rows import payment_target, row_item_id
from worker.storage.work_items import counts_item_id
from worker.verify.findings import CheckResult, Fault, Finding, Kind
from worker.verify.shapes import misfits
from worker.verify.sum_audit import Pair, check_counted

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}
_OWNER = ("stream_id", "user_id", "course_id")


@dataclass(frozen=True, slots=True)
class Learner(Pair):
    """One learner in one course: record and projection (not both absent), and what is wrong with the rows of both."""

    rows: Sequence[Finding] = ()


def check_learner(learner: Learner, served: int = 0) -> CheckResult:
    """Whether the projection is what its record says, and all it put out has its row.

    `served` is the newest version by which anybody counts now.
    """
    result = check_counted(COUNTS, learner, served, _OWNER, _counted_of)
    malformed = any(finding.fault is Fault.MALFORMED for finding in result.findings)
    if learner.record is None or learner.counted is None or malformed or result.other_version:
        return result
    return replace(result, findings=[*result.findings, *learner.rows])


def _counted_of(record: Document) -> Document:
    step = count_learner(record, None)
    return step.projection if step else {}


def audit_rows(
    stream: str,
    projection: Document,
    rows: Set[str],
    payments: Iterable[Payment],
    billing: Mapping[str, Document],
) -> Iterator[tuple[str, Finding]]:
    """What is wrong with the rows of a well-formed projection, each with the item of a refused row that excuses it.

    `rows` are the ids of outbox rows, `billing` billing rows by transaction, both of any learners; `payments` are
    those up to the counted version. Rows, or items of rows refused, are written with the projection that names them.
    A payment's row is of this naming of the transaction, of a later one, or the platform's own.
    """
    for kind in MILESTONES:
        if kind in projection["emitted"] and notification_id(kind, stream) not in rows:
            missing = Finding(Kind.NOTIFICATION, Fault.MISSING, stream, f"no row for {kind}")
            yield counts_item_id(kind, projection["_id"]), missing
    for payment in payments:
        item, row = row_item_id(payment_target(payment.event_id)), billing.get(payment.transaction_id)
        if row is None:
            yield item, Finding(Kind.BILLING, Fault.MISSING, stream, "a payment has no row")
        elif not isinstance(row.get("event_id"), UUID) or misfits("billing_transactions", row):
            continue  # the row's own check reports it
        elif (row["created_at"], row["event_id"].bytes) < (payment.paid_at, payment.event_id):
            detail = "the row is of an earlier naming of its transaction"
            yield item, Finding(Kind.BILLING, Fault.DIFFERENT, stream, detail)
