"""What a check of the stored history says: counts, and findings without payloads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from worker.errors import WorkerError
from worker.storage.reading import Unreadable, name_of, senseless

# Enough to see a pattern and to start looking; the totals by kind are always complete.
FINDINGS_KEPT = 100


class FindingKind(StrEnum):
    """Everything that can be wrong with the stored history: a closed set."""

    DOCUMENT_UNREADABLE = "document_unreadable"
    DOCUMENT_MALFORMED = "document_malformed"
    VERSION_HOLE = "version_hole"
    VERSION_REPEATED = "version_repeated"
    VOID_WRONG_ID = "void_wrong_id"
    EVENT_MISFILED = "event_misfiled"
    EVENT_DIFFERENT = "event_different"
    EVENT_FINGERPRINT_DIFFERENT = "event_fingerprint_different"
    EVENT_SOURCE_REPEATED = "event_source_repeated"
    ROW_MISSING = "row_missing"
    ROW_EXTRA = "row_extra"
    ROW_DOUBLED = "row_doubled"
    ROW_DIFFERENT = "row_different"
    PROGRESS_DIFFERENT = "progress_different"
    PROGRESS_AHEAD = "progress_ahead"
    PROGRESS_UNKNOWN = "progress_unknown"
    PROGRESS_MISSING = "progress_missing"
    PROGRESS_BEHIND = "progress_behind"
    PROGRESS_NEWER = "progress_newer"
    FOLD_FAILED = "fold_failed"
    PROJECTION_MISSING = "projection_missing"
    PROJECTION_BEHIND = "projection_behind"
    PROJECTION_AHEAD = "projection_ahead"
    PROJECTION_DIFFERENT = "projection_different"
    PROJECTION_UNKNOWN = "projection_unknown"
    PROJECTION_NEWER = "projection_newer"
    STATISTICS_MISSING = "statistics_missing"
    STATISTICS_DIFFERENT = "statistics_different"
    ACTIVITY_LOG_DIFFERENT = "activity_log_different"
    NOTIFICATION_MISSING = "notification_missing"
    NOTIFICATION_DIFFERENT = "notification_different"
    NOTIFICATION_UNKNOWN = "notification_unknown"
    NOTIFICATION_REPEATED = "notification_repeated"
    BILLING_MISSING = "billing_missing"
    BILLING_DIFFERENT = "billing_different"
    BILLING_UNKNOWN = "billing_unknown"
    DEAD_LETTER_DAMAGED = "dead_letter_damaged"
    DEAD_LETTER_PART_UNKNOWN = "dead_letter_part_unknown"
    QUEUE_ITEM_DIFFERENT = "queue_item_different"
    LEASE_DIFFERENT = "lease_different"
    POSITION_DIFFERENT = "position_different"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `subject` is a stream id, or kind and id of another document; no payload anywhere."""

    kind: FindingKind
    subject: str
    detail: str


def subject_of(collection: str, document: Mapping[str, Any]) -> str:
    """A document as the subject of a finding, whatever its `_id` is."""
    return f"{collection} {name_of(document.get('_id'))}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of one check.

    `behind`: streams whose document waits for events (normal while the worker runs). `set_aside`: those of
    them that wait in `analytics_queue`. `in_flight`: missing rows and holes that were too young to judge.
    `other_projection_version`: documents of another code version, counted and not compared.

    Where learners are counted: `projections` says how many, `uncounted` of how many another revision (or none), and
    `other_counts_version` those counted by newer code. `statistics_missing`: documents that wait for their
    statistics. `statistics_refused`: documents whose statistics the server refuses to store.
    """

    events: int
    voids: int
    streams: int
    time_series_rows: int
    documents: int
    behind: int
    set_aside: int
    other_projection_version: int
    in_flight: int
    dead_letters: int
    dead_letter_reasons: Mapping[str, int]
    gap_records: int
    finding_counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    projections: int = 0
    uncounted: int = 0
    other_counts_version: int = 0
    courses: int = 0
    users: int = 0
    statistics_missing: int = 0
    statistics_refused: int = 0
    notifications: int = 0
    billing_transactions: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong. Being behind, set aside or in flight is not wrong."""
        return not self.finding_counts

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; `findings` holds at most the first 100."""
        counts = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("dead_letter_reasons", "finding_counts", "findings")
        }
        return {
            "ok": self.ok,
            **counts,
            "dead_letter_reasons": dict(self.dead_letter_reasons),
            "finding_counts": dict(self.finding_counts),
            "findings": [
                {"kind": str(found.kind), "subject": found.subject, "detail": found.detail}
                for found in self.findings
            ],
        }


@dataclass(slots=True)
class Tally:
    """The running totals of one check; memory grows with documents nobody can read, not with other findings."""

    counts: Counter[str] = field(default_factory=Counter)
    finding_counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    dead_letter_reasons: dict[str, int] = field(default_factory=dict)
    _unreadable: set[str] = field(default_factory=set)

    def report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.finding_counts[str(finding.kind)] += 1
            if len(self.findings) < FINDINGS_KEPT:
                self.findings.append(finding)

    def unreadable(self, documents: Iterable[Unreadable]) -> None:
        """Report documents of which nothing further can be said, however often they were met."""
        for each in documents:
            subject = f"{each.collection} {each.name}"
            if subject not in self._unreadable:
                self._unreadable.add(subject)
                self.report([Finding(FindingKind.DOCUMENT_UNREADABLE, subject, each.reason)])

    @contextmanager
    def guard(self, collection: str, document: Mapping[str, Any]) -> Iterator[None]:
        """Whatever is raised while one document is looked at is a finding about it: the others are still checked."""
        try:
            yield
        except WorkerError:
            raise
        except Exception as error:
            self.unreadable([senseless(collection, document.get("_id"), error)])

    def result(self) -> Verification:
        return Verification(
            dead_letters=sum(self.dead_letter_reasons.values()),
            dead_letter_reasons=dict(self.dead_letter_reasons),
            finding_counts=dict(self.finding_counts),
            findings=tuple(self.findings),
            **{name: self.counts[name] for name in COUNTED},
        )


COUNTED = tuple(
    each.name for each in fields(Verification) if each.type is int and each.name != "dead_letters"
)
"""What a check counts by name in `Tally.counts`."""
