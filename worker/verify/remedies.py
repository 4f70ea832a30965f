"""What mends each finding: which rebuild, or why none does. Decided from the finding alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from projections.billing import BILLING
from projections.kinds import Catalogue
from worker.verify.findings import Fault, Finding, Kind


class Remedy(StrEnum):
    """Which part of a repair sees to a finding; the value is the command that does the same by itself."""

    FOLD = "rebuild progress"
    COUNT = "rebuild counts"
    ROWS = "rebuild notifications"
    SERIES = "rebuild time-series"


@dataclass(frozen=True, slots=True)
class Prescription:
    """The remedy of a finding, or the reason why there is none."""

    remedy: Remedy | None
    reason: str = ""


_EVENTS = (
    "an event is never rewritten: restore it from a backup, or have its version skipped by `queue skip-event`"
)
_AHEAD = (
    "the store has lost events that the document has seen: bring them back by `reingest`, or from a backup"
)
_NEWER = "it was made by newer code, which this release leaves alone: run that release"
_NO_STREAM = "no stored event is about it: whose it is, `adopt --dry-run` or its owner can tell"
_PLATFORMS = "the document is the platform's, and cannot be read: only who wrote it can put it right"
_DEAD_LETTER = "what its bytes were is nowhere else: `reingest` reads the record again if Kafka still has it"
_QUEUE = "what it was about is not certain any more: look at it by `queue show`, and discard it"
_LEASE = "it is nobody's, or dated in the future: `docs/verify.md` says when it may be deleted"
_RECORDS = "the store does not hold what the group has read: `reingest` brings it back (docs/backup.md)"
_SKIPPED = "it decides nothing: take it back by hand, and skip the right version by `queue skip-event`"
_TWICE = "two events have one version, and which is right is not certain: remove one, then `schema apply`"
_PAYMENT = "no stored event names its payment, and money is not for us to delete: ask who keeps the accounts"
_PART = (
    "what names it is made again with it, and has a finding of its own; one that nothing names may be deleted"
)
_NO_EVENT = "the payment that an enrolment names has no event: `jobs run payments` stores it"
_BUILD = "it cannot be built of what its documents hold: its item in the queue says why"
_FOLD_FAILS = (
    "its fold raises: see its item by `queue list`, or have the version skipped by `queue skip-event`"
)

_SERIES = (Fault.MISSING, Fault.EXTRA, Fault.DOUBLED, Fault.DIFFERENT)
_KINDS: Mapping[tuple[str, Fault], Remedy | str] = {
    (Kind.VERSION, Fault.HOLE): Remedy.FOLD,  # whoever folds fills holes
    (Kind.VERSION, Fault.REPEATED): _TWICE,
    (Kind.VOID, Fault.WRONG_ID): _EVENTS,
    **{(Kind.EVENT, fault): _EVENTS for fault in Kind.EVENT.faults},
    **{(Kind.ROW, fault): Remedy.SERIES for fault in _SERIES},
    **{(Kind.STATISTICS, fault): Remedy.COUNT for fault in Kind.STATISTICS.faults},
    (Kind.ACTIVITY_LOG, Fault.DIFFERENT): Remedy.COUNT,
    **{(Kind.NOTIFICATION, fault): Remedy.ROWS for fault in Kind.NOTIFICATION.faults},
    (Kind.PAYMENT, Fault.MISSING): _NO_EVENT,
    (BILLING.name, Fault.UNKNOWN): _PAYMENT,
    (Kind.DEAD_LETTER, Fault.DAMAGED): _DEAD_LETTER,
    (Kind.DEAD_LETTER_PART, Fault.UNKNOWN): _DEAD_LETTER,
    (Kind.QUEUE_ITEM, Fault.DIFFERENT): _QUEUE,
    **{(Kind.SKIPPED_VERSION, fault): _SKIPPED for fault in Kind.SKIPPED_VERSION.faults},
    (Kind.LEASE, Fault.DIFFERENT): _LEASE,
    (Kind.LEASE, Fault.MISSING): _RECORDS,
    (Kind.POSITION, Fault.DIFFERENT): _LEASE,
}
_STREAM_PROJECTIONS: Mapping[Fault, Remedy | str] = {
    Fault.DIFFERENT: Remedy.FOLD,
    Fault.MISSING: Remedy.FOLD,
    Fault.BEHIND: Remedy.FOLD,
    Fault.AHEAD: _AHEAD,
    Fault.UNKNOWN: _NO_STREAM,
    Fault.NEWER: _NEWER,
    Fault.FOLD_FAILED: _FOLD_FAILS,
}
_SUMS: Mapping[Fault, Remedy | str] = {
    **dict.fromkeys((Fault.DIFFERENT, Fault.MISSING, Fault.BEHIND, Fault.AHEAD, Fault.UNKNOWN), Remedy.COUNT),
    Fault.NEWER: _NEWER,
}
_MODELS: Mapping[Fault, Remedy | str] = {
    **dict.fromkeys((Fault.DIFFERENT, Fault.MISSING, Fault.UNKNOWN), Remedy.COUNT),
    Fault.BUILD_FAILED: _BUILD,
}
_CONTESTS: Mapping[Fault, Remedy | str] = {
    **dict.fromkeys((Fault.DIFFERENT, Fault.BEHIND, Fault.UNKNOWN), Remedy.COUNT),
    Fault.NEWER: _NEWER,
    Fault.BUILD_FAILED: _BUILD,
}
_DOCUMENTS: Mapping[str, Remedy | str] = {
    "course_events": _EVENTS,
    "user_interactions": Remedy.SERIES,
    "notifications": Remedy.ROWS,
    "courses": _PLATFORMS,
    "users": _PLATFORMS,
    "dead_letters": _DEAD_LETTER,
    "analytics_queue": _QUEUE,
    "leases": _LEASE,
    "projection_state": _LEASE,
    "watch_positions": _LEASE,
    "skipped_versions": _SKIPPED,
}
_NO_WAY = "nothing here knows how to mend it"


def prescribe(finding: Finding, catalogue: Catalogue) -> Prescription:
    """What mends the finding. A row of the time series may still have to stay as it is: the server decides."""
    found = _found(finding, catalogue)
    return Prescription(found) if isinstance(found, Remedy) else Prescription(None, found)


def _found(finding: Finding, catalogue: Catalogue) -> Remedy | str:
    if finding.kind == Kind.DOCUMENT:
        return _of_document(finding, catalogue)
    if (known := _KINDS.get((finding.kind, finding.fault))) is not None:
        return known
    groups = (
        (catalogue.streams, _STREAM_PROJECTIONS),
        (catalogue.sums, _SUMS),
        (catalogue.models, _MODELS),
        (catalogue.contests, _CONTESTS),
    )
    for projections, faults in groups:
        if finding.kind in {each.name for each in projections}:
            return faults.get(finding.fault, _NO_WAY)
    return _NO_WAY


def _of_document(finding: Finding, catalogue: Catalogue) -> Remedy | str:
    """One that cannot be read, or has not its shape: made again where it follows from others."""
    collection = finding.about[0] if finding.about else ""
    if collection in {each.target.collection for each in catalogue.streams}:
        return Remedy.FOLD
    if collection in {each.parts.target.collection for each in catalogue.streams if each.parts is not None}:
        return _PART
    counted = {target.collection for each in catalogue.sums for target in each.targets}
    counted |= {each.contenders.collection for each in catalogue.contests}
    if collection in counted | {each.target.collection for each in catalogue.models}:
        return Remedy.COUNT
    return _DOCUMENTS.get(collection, _NO_WAY)
