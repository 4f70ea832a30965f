"""Compares one stream's events with each other, with its rows and its documents: values in, findings out, no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from projections.event import VOID
from worker.contract.families import LEARNER
from worker.contract.identity import stream_kind
from worker.storage.documents import interaction_row
from worker.verify.event_audit import audit_event, malformed_event
from worker.verify.findings import Fault, Finding, Kind
from worker.verify.fold_audit import FoldAudit, date_in, digest
from worker.verify.sources import Sources

# Nothing is recorded after it.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class StreamAudit:
    """One stream, fed with its events in version order and then with its rows.

    Keeps of each event its row's digest, so that a stream of any length fits in memory. `sources`, if given, notes
    the records of the events.
    """

    stream: str
    folds: Sequence[FoldAudit]
    latest: datetime = _END_OF_TIME
    sources: Sources | None = None
    events: int = 0
    voids: int = 0
    last_version: int = 0
    suspect: bool = False
    """Something was found that a second look may excuse."""
    extra_rows: list[object] = field(default_factory=list)
    """Ids of rows without an event of this stream; it may have been stored after the events were read."""
    _findings: list[Finding] = field(default_factory=list)
    _expected: dict[bytes, tuple[bytes | None, datetime | None]] = field(default_factory=dict)
    """By event the digest of its row, unless the event is malformed, and when it was recorded."""
    _met: set[bytes] = field(default_factory=set)

    def feed(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take the next events of the stream, in version order."""
        for event in events:
            self._check(event)
        for fold in self.folds:
            self._findings += fold.feed(events)

    def close(self) -> None:
        """All events were fed."""
        for fold in self.folds:
            self._findings += fold.close()

    def meet(self, row: Mapping[str, Any]) -> None:
        """Take one row of the time series that names this stream's learner and course."""
        identity = row.get("_id")
        key = identity.bytes if isinstance(identity, UUID) else b""
        if key not in self._expected:
            self.extra_rows.append(identity)
            return
        if key in self._met:
            self._report(Kind.ROW, Fault.DOUBLED, f"event {identity} has several rows")
        self._met.add(key)
        expected, _ = self._expected[key]
        if expected is not None and digest(row) != expected:
            self._report(Kind.ROW, Fault.DIFFERENT, f"the row of event {identity} is not what it must be")

    def take_findings(self) -> list[Finding]:
        """What was found since the last call."""
        taken, self._findings = self._findings, []
        return taken

    def missing_rows(self) -> Iterator[Finding]:
        """Events that have no row, now that all rows were met."""
        for key, (_, since) in self._expected.items():
            if key not in self._met:
                detail = f"event {UUID(bytes=key)} has no row"
                yield Finding(Kind.ROW, Fault.MISSING, self.stream, detail, since)

    def _check(self, event: Mapping[str, Any]) -> None:
        self.events += 1
        self.voids += event.get("event_type") == VOID
        self._check_version(event)
        if (unshaped := malformed_event(event, self.stream)) is not None:
            self._findings.append(unshaped)
            self._stop_folds()
            if isinstance(event.get("_id"), UUID):
                self._expected[event["_id"].bytes] = (None, None)
            return
        self._findings += audit_event(event, self.stream, self.latest)
        if event["event_type"] != VOID:
            self._expect(event)

    def _check_version(self, event: Mapping[str, Any]) -> None:
        version, expected = event["version"], self.last_version + 1
        if version > expected:
            detail, since = f"versions {expected} to {version - 1} are absent", date_in(event, "recorded_at")
            self._report(Kind.VERSION, Fault.HOLE, detail, since)
        elif version < expected:
            self._report(Kind.VERSION, Fault.REPEATED, f"version {version} occurs again")
        if version != expected:
            self._stop_folds()
        self.last_version = max(version, self.last_version)

    def _stop_folds(self) -> None:
        for fold in self.folds:
            fold.stop()

    def _expect(self, event: Mapping[str, Any]) -> None:
        """Its row, which events about a learner have; and that no other event came from its record."""
        if stream_kind(self.stream) in (LEARNER, None):
            self._expected[event["_id"].bytes] = (digest(interaction_row(event)), event["recorded_at"])
        source = event["metadata"]["source"]
        if self.sources is not None and source and self.sources.seen(source, event["recorded_at"]):
            detail = f"the record of event {event['_id']} is that of another event"
            self._report(Kind.EVENT, Fault.SOURCE_REPEATED, detail)

    def _report(self, kind: Kind, fault: Fault, detail: str, since: datetime | None = None) -> None:
        self._findings.append(Finding(kind, fault, self.stream, detail, since))
