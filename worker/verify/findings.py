"""What a check of the stored history says: counts, and findings without payloads."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from worker.errors import WorkerError
from worker.storage.database import Database, Document
from worker.storage.models import MODELS
from worker.storage.reading import Reading, Unreadable, name_of, senseless
from worker.timing import Clock
from worker.verify.shapes import Shapes, misfits_named, misfits_of

# Enough to see a pattern and to start looking; the totals are always complete.
FINDINGS_KEPT = 100


class Fault(StrEnum):
    """What is wrong with a thing."""

    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    HOLE = "hole"
    REPEATED = "repeated"
    WRONG_ID = "wrong_id"
    MISFILED = "misfiled"
    DIFFERENT = "different"
    FINGERPRINT_DIFFERENT = "fingerprint_different"
    SOURCE_REPEATED = "source_repeated"
    MISSING = "missing"
    EXTRA = "extra"
    DOUBLED = "doubled"
    AHEAD = "ahead"
    BEHIND = "behind"
    NEWER = "newer"
    UNKNOWN = "unknown"
    FOLD_FAILED = "fold_failed"
    BUILD_FAILED = "build_failed"
    DAMAGED = "damaged"


class Kind(StrEnum):
    """What a finding is about, where it is not about a projection: those are called by their own names.

    Behind each stand the faults that it can have: docs/verify.md explains every one.
    """

    faults: tuple[Fault, ...]

    DOCUMENT = "document", Fault.UNREADABLE, Fault.MALFORMED
    VERSION = "version", Fault.HOLE, Fault.REPEATED
    VOID = "void", Fault.WRONG_ID
    EVENT = "event", Fault.MISFILED, Fault.DIFFERENT, Fault.FINGERPRINT_DIFFERENT, Fault.SOURCE_REPEATED
    ROW = "row", Fault.MISSING, Fault.EXTRA, Fault.DOUBLED, Fault.DIFFERENT
    STATISTICS = "statistics", Fault.MISSING, Fault.DIFFERENT
    ACTIVITY_LOG = "activity_log", Fault.DIFFERENT
    NOTIFICATION = "notification", Fault.MISSING, Fault.DIFFERENT, Fault.UNKNOWN, Fault.REPEATED
    PAYMENT = "payment", Fault.MISSING
    DEAD_LETTER = "dead_letter", Fault.DAMAGED
    DEAD_LETTER_PART = "dead_letter_part", Fault.UNKNOWN
    QUEUE_ITEM = "queue_item", Fault.DIFFERENT
    SKIPPED_VERSION = "skipped_version", Fault.DIFFERENT, Fault.UNKNOWN
    LEASE = "lease", Fault.DIFFERENT, Fault.MISSING
    POSITION = "position", Fault.DIFFERENT

    def __new__(cls, name: str, *faults: Fault) -> Self:
        kind = str.__new__(cls, name)
        kind._value_, kind.faults = name, faults
        return kind


_OF_A_PROJECTION = (Fault.DIFFERENT, Fault.AHEAD, Fault.UNKNOWN, Fault.MISSING, Fault.BEHIND, Fault.NEWER)
STREAM_PROJECTION_FAULTS = (*_OF_A_PROJECTION, Fault.FOLD_FAILED)
SUM_PROJECTION_FAULTS = _OF_A_PROJECTION
CONTEST_FAULTS = (Fault.DIFFERENT, Fault.BEHIND, Fault.UNKNOWN, Fault.NEWER, Fault.BUILD_FAILED)
READ_MODEL_FAULTS = (Fault.DIFFERENT, Fault.MISSING, Fault.UNKNOWN, Fault.BUILD_FAILED)
# What scripts knew before projections were told apart by their names.
_ALIASES: Mapping[tuple[str, Fault], str] = {("progress", Fault.FOLD_FAILED): "fold_failed"} | {
    ("counts", fault): f"projection_{fault}" for fault in SUM_PROJECTION_FAULTS
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: of which kind it is, or of which projection, and what is wrong with it.

    `subject` is a stream id, or kind and id of another document; there is no payload anywhere. `since` is the date of
    the newest event that the finding rests on, None where time cannot excuse it. `about` names the document, for who
    mends it, where the subject does not: its collection and `_id`; that of a row of the time series is its event's.
    """

    kind: str
    fault: Fault
    subject: str
    detail: str
    since: datetime | None = None
    about: tuple[str, Any] | None = None

    @property
    def name(self) -> str:
        """Kind and fault as one word: the `kind` of the JSON."""
        return _ALIASES.get((self.kind, self.fault), f"{self.kind}_{self.fault}")

    def to_json(self) -> dict[str, str]:
        """`kind` is the name that scripts know; `subject_kind` and `fault` are the two parts of it."""
        parts = {"subject_kind": str(self.kind), "fault": str(self.fault)}
        return {"kind": self.name, **parts, "subject": self.subject, "detail": self.detail}


def subject_of(collection: str, document: Mapping[str, Any]) -> str:
    """A document as the subject of a finding, whatever its `_id` is."""
    return f"{collection} {name_of(document.get('_id'))}"


def malformed(
    collection: str, document: Mapping[str, Any], shapes: Shapes | None = None, *, only: tuple[str, ...] = ()
) -> Finding | None:
    """The finding about a document that has not the shape its collection's validator, or one of `shapes`, wants."""
    if paths := misfits_of(shapes or MODELS[collection], document, only=only):
        subject, about = subject_of(collection, document), (collection, document.get("_id"))
        return Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, misfits_named(paths), about=about)
    return None


def differs(
    kind: str, subject: str, what: str, paths: Sequence[str], *, about: tuple[str, Any] | None = None
) -> Iterator[Finding]:
    """One finding that names the paths in which something is not what it must be; none without paths."""
    if paths:
        yield Finding(kind, Fault.DIFFERENT, subject, f"{what} {', '.join(paths)}", about=about)


def broken(
    kind: str,
    fault: Fault,
    subject: str,
    rules: Iterable[tuple[str, bool]],
    what: str = "",
    *,
    about: tuple[str, Any] | None = None,
) -> Iterator[Finding]:
    """One finding that names every rule that is broken; `what` stands before them. None if all hold."""
    if wrong := [detail for detail, is_broken in rules if is_broken]:
        yield Finding(kind, fault, subject, what + "; ".join(wrong), about=about)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What is wrong; what merely waits; and whether other code made the document, which is not compared.

    `since` of what waits says from when on it could have been done, where that is known.
    """

    findings: Sequence[Finding] = ()
    waiting: Finding | None = None
    other_version: bool = False

    @property
    def follows(self) -> bool:
        """What waits is shown, and follows what it is made of in a transaction of its own."""
        return self.waiting is not None and self.waiting.fault is Fault.DIFFERENT


@dataclass(frozen=True, slots=True)
class Grace:
    """What is excused on a live system as work in progress; nothing is where the system is `quiescent`.

    What was recorded since `young_since` may be about to be completed. What waits since before `overdue_before` is
    not about to be done.
    """

    quiescent: bool
    young_since: datetime
    overdue_before: datetime

    def is_in_flight(self, since: object) -> bool:
        """Too young to be wrong."""
        return not self.quiescent and isinstance(since, datetime) and since >= self.young_since

    def is_overdue(self, since: object) -> bool:
        """Waits for so long that on a live system, too, somebody has to look."""
        return not self.quiescent and isinstance(since, datetime) and since < self.overdue_before


@dataclass(slots=True)
class ProjectionCounts:
    """Documents of one projection, counted.

    `behind` wait to be folded or counted (normal while the worker runs), `quarantined` of them have an item in
    `analytics_queue`. `other_version` were made by another version of the code and are not compared.
    `without_effect` are events that documents list as wrong beside others of their stream, and of a contest the
    documents that do not have what they ask for: no fault here. `reasons` counts them by why. `parts` are the further
    documents that these name.
    """

    documents: int = 0
    behind: int = 0
    quarantined: int = 0
    other_version: int = 0
    without_effect: int = 0
    parts: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def refused(self, reasons: Mapping[str, int]) -> None:
        """Count what has no effect, by why."""
        for reason, number in reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + number
            self.without_effect += number


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of one check. `counts` has every name of `COUNTED`; `by_projection` what was counted of each."""

    counts: Mapping[str, int]
    by_projection: Mapping[str, ProjectionCounts]
    dead_letter_reasons: Mapping[str, int]
    faults: Mapping[str, Mapping[str, int]]
    finding_counts: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong. Being behind, in quarantine or in flight is not wrong."""
        return not self.finding_counts

    def of(self, projection: str) -> ProjectionCounts:
        """What was counted of the projection of this name."""
        return self.by_projection.get(projection, ProjectionCounts())

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; `findings` holds at most the first 100."""
        progress, sums = self.of("progress"), self.of("counts")
        return {
            "ok": self.ok,
            **self.counts,
            # What scripts knew before projections were told apart by their names.
            "documents": progress.documents,
            "behind": progress.behind,
            "set_aside": progress.quarantined,
            "other_projection_version": progress.other_version,
            "projections": sums.documents,
            "uncounted": sums.behind,
            "other_counts_version": sums.other_version,
            "by_projection": {name: asdict(each) for name, each in self.by_projection.items()},
            "dead_letter_reasons": dict(self.dead_letter_reasons),
            "finding_counts": dict(self.finding_counts),
            "faults": {kind: dict(faults) for kind, faults in self.faults.items()},
            "findings": [finding.to_json() for finding in self.findings[:FINDINGS_KEPT]],
        }


COUNTED = (
    *("events", "voids", "streams", "time_series_rows", "rows_expired", "in_flight"),
    *("dead_letters", "gap_records"),
    *("courses", "users", "statistics_missing", "statistics_refused"),
    *("notifications", "billing_transactions", "skipped_versions"),
)
"""What is counted apart from the projections.

`rows_expired`: events whose row is gone because rows of their age expire. `in_flight`: missing rows and holes that
were too young to be wrong. `statistics_missing`: documents that wait for their statistics. `statistics_refused`:
documents whose statistics the server refuses to store. `skipped_versions`: decisions that a projection leaves an
event out.
"""


@dataclass(slots=True)
class Tally:
    """The running totals of one check; memory grows with documents nobody can read, not with other findings."""

    counts: Counter[str] = field(default_factory=Counter)
    by_projection: dict[str, ProjectionCounts] = field(default_factory=lambda: defaultdict(ProjectionCounts))
    faults: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    finding_counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    kept: int = FINDINGS_KEPT
    dead_letter_reasons: Counter[str] = field(default_factory=Counter)
    _unreadable: set[str] = field(default_factory=set)

    def report(self, findings: Iterable[Finding | None]) -> None:
        """Count each finding; None is nothing found."""
        for finding in filter(None, findings):
            self.finding_counts[finding.name] += 1
            self.faults[str(finding.kind)][str(finding.fault)] += 1
            if len(self.findings) < self.kept:
                self.findings.append(finding)

    def report_result(self, result: CheckResult, grace: Grace, *, twice: bool = False) -> None:
        """Report what is wrong, and what waits in a quiescent system, or for too long: if that was seen `twice`."""
        self.report(result.findings)
        overdue = result.waiting is not None and grace.is_overdue(result.waiting.since)
        if grace.quiescent or (twice and overdue):
            self.report([result.waiting])

    def report_unless_young(self, findings: Iterable[Finding], grace: Grace) -> None:
        """Report, or count as in flight what a worker may be about to complete."""
        for finding in findings:
            if grace.is_in_flight(finding.since):
                self.counts["in_flight"] += 1
            else:
                self.report([finding])

    def unreadable(self, documents: Iterable[Unreadable]) -> None:
        """Report documents of which nothing further can be said, however often they were met."""
        for each in documents:
            subject = f"{each.collection} {each.name}"
            if subject not in self._unreadable:
                self._unreadable.add(subject)
                about = (each.collection, each.id)
                self.report([Finding(Kind.DOCUMENT, Fault.UNREADABLE, subject, each.reason, about=about)])

    def readable(self, page: Reading) -> list[Document]:
        """The page's documents; those that nobody can read are reported."""
        self.unreadable(page.unreadable)
        return page.documents

    def well_formed(self, page: Reading) -> Iterator[Document]:
        """The page's documents of the shape that their collection's validator wants; the others are reported."""
        for document in self.readable(page):
            if (unshaped := malformed(page.collection, document)) is not None:
                self.report([unshaped])
            else:
                yield document

    @contextmanager
    def guard(self, collection: str, identity: object) -> Iterator[None]:
        """Whatever is raised while one document is looked at is a finding about it: the others are still checked."""
        try:
            yield
        except WorkerError:
            raise
        except Exception as error:
            self.unreadable([senseless(collection, identity, error)])

    def result(self) -> Verification:
        counts = {name: self.counts[name] for name in COUNTED}
        return Verification(
            counts | {"dead_letters": self.dead_letter_reasons.total()},
            dict(self.by_projection),
            self.dead_letter_reasons,
            self.faults,
            self.finding_counts,
            tuple(self.findings),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `verify`, as every check is given it: what it reads, what it found so far, and what it excuses."""

    database: Database
    tally: Tally
    clock: Clock
    grace: Grace
