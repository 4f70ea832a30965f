"""One stream's events: each by itself, with each other, with their rows and documents. Values in, findings out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel

from projections.account.opening import UserOpening
from projections.content.courses.opening import CourseOpening
from projections.event import OPENING, OWN_TYPES, VOID
from projections.progress.opening import OpeningRecord
from worker.contract.enrolment_payments import names_payment, payment_event_id
from worker.contract.families import EVENT_TYPES, WITHOUT_ROW
from worker.contract.family import LEARNER
from worker.contract.fingerprint import agrees
from worker.contract.identity import (
    opening_event_id,
    parse_stream_id,
    stream_kind,
    stream_slot,
    void_event_id,
)
from worker.contract.reserved import is_reserved
from worker.contract.trace_context import PARENT, STATE, trace_in
from worker.contract.upcasters import UPCASTERS, newest_version, oldest_version
from worker.storage.database import Document
from worker.storage.documents import ADOPTED, interaction_row, opening_fingerprint, void_document
from worker.storage.reading import name_of
from worker.verify.findings import Fault, Finding, Kind, differs
from worker.verify.fold_audit import FoldAudit, date_in, digest
from worker.verify.sameness import differing
from worker.verify.shapes import misfits, misfits_named, misfits_of
from worker.verify.sources import Sources

Event = Mapping[str, Any]

SERIES = "user_interactions"
# SHA-256.
_FINGERPRINT_BYTES = 32
_SCHEMA_VERSIONS = range(oldest_version(UPCASTERS), newest_version(UPCASTERS) + 1)
# Nothing is recorded after it.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class StreamAudit:
    """One stream, fed with its events in version order and then with its rows.

    Keeps of each event its row's digest, so that a stream of any length fits in memory. `sources`, if given, notes
    the records of the events. `may_be_gone` tells of the time of an event whether its row may have expired.
    """

    stream: str
    folds: Sequence[FoldAudit]
    latest: datetime = _END_OF_TIME
    sources: Sources | None = None
    may_be_gone: Callable[[datetime], bool] = lambda _timestamp: False
    events: int = 0
    voids: int = 0
    last_version: int = 0
    suspect: bool = False
    """Something was found that a second look may excuse."""
    extra_rows: list[object] = field(default_factory=list)
    """Ids of rows without an event of this stream; it may have been stored after the events were read."""
    payments: dict[UUID, datetime] = field(default_factory=dict)
    """The events that enrolments of the stream must have for their payments, and when these were recorded."""
    _findings: list[Finding] = field(default_factory=list)
    _expected: dict[bytes, tuple[bytes | None, datetime | None]] = field(default_factory=dict)
    """By event the digest of its row, unless the event is malformed, and when it was recorded."""
    _met: set[bytes] = field(default_factory=set)
    _expiring: set[bytes] = field(default_factory=set)
    """Events whose row may have expired."""

    def feed(self, events: Sequence[Document]) -> None:
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
            self._report_row(Fault.DOUBLED, f"event {identity} has several rows", identity)
        self._met.add(key)
        expected, _ = self._expected[key]
        if expected is not None and digest(row, without="_id") != expected:
            self._report_row(Fault.DIFFERENT, f"the row of event {identity} is not what it must be", identity)

    def take_findings(self) -> list[Finding]:
        """What was found since the last call."""
        taken, self._findings = self._findings, []
        return taken

    def missing_rows(self) -> Iterator[Finding]:
        """Events that have no row, now that all rows were met."""
        for key, (_, since) in self._expected.items():
            if key not in self._met and key not in self._expiring:
                detail, about = f"event {UUID(bytes=key)} has no row", (SERIES, UUID(bytes=key))
                yield Finding(Kind.ROW, Fault.MISSING, self.stream, detail, since, about)

    @property
    def expired_rows(self) -> int:
        """Events whose row is gone, as it may be."""
        return len(self._expiring - self._met)

    def _check(self, event: Mapping[str, Any]) -> None:
        self.events += 1
        self.voids += event.get("event_type") == VOID
        self._check_version(event)
        if (unshaped := malformed_event(event, self.stream)) is not None:
            self._findings.append(unshaped)
            self._stop_folds(event)
            if isinstance(event.get("_id"), UUID):
                self._expected[event["_id"].bytes] = (None, None)
            return
        self._findings += audit_event(event, self.stream, self.latest)
        if event["event_type"] not in OWN_TYPES:
            self._expect(event)
        if names_payment(event) and not is_reserved(self.stream):
            self.payments[payment_event_id(event["_id"])] = event["recorded_at"]

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

    def _stop_folds(self, at: Event | None = None) -> None:
        for fold in self.folds:
            fold.stop(at)

    def _expect(self, event: Mapping[str, Any]) -> None:
        """Its row, which what learners do has; and that no other event came from its record."""
        if _place_of(self.stream).kind in (LEARNER, None) and event["event_type"] not in WITHOUT_ROW:
            key = event["_id"].bytes
            self._expected[key] = (digest(interaction_row(event), without="_id"), event["recorded_at"])
            if self.may_be_gone(event["occurred_at"]):
                self._expiring.add(key)
        source = event["metadata"]["source"]
        if self.sources is not None and source and self.sources.seen(source, event["recorded_at"]):
            detail = f"the record of event {event['_id']} is that of another event"
            self._report(Kind.EVENT, Fault.SOURCE_REPEATED, detail)

    def _report_row(self, fault: Fault, detail: str, event: object) -> None:
        self._findings.append(Finding(Kind.ROW, fault, self.stream, detail, about=(SERIES, event)))

    def _report(self, kind: Kind, fault: Fault, detail: str, since: datetime | None = None) -> None:
        self._findings.append(Finding(kind, fault, self.stream, detail, since))


def malformed_event(event: Event, stream: str) -> Finding | None:
    """Why nothing further can be said of the event, if that is so."""
    paths = misfits("course_events", event)
    if not paths:
        return None
    detail, about = f"event {name_of(event.get('_id'))}: {misfits_named(paths)}", event.get("_id")
    return Finding(Kind.DOCUMENT, Fault.MALFORMED, stream, detail, about=("course_events", about))


def audit_event(event: Event, stream: str, latest: datetime) -> Iterator[Finding]:
    """What is wrong with a well-formed event of `stream`; nothing was recorded after `latest`."""
    if not _is_about(event, stream) or event["slot"] != _place_of(stream).slot:
        detail = f"event {event['_id']} is in the wrong stream or slot"
        yield Finding(Kind.EVENT, Fault.MISFILED, stream, detail)
    if event["recorded_at"] > latest:
        detail = f"event {event['_id']} was recorded in the future"
        yield Finding(Kind.EVENT, Fault.DIFFERENT, stream, detail)
    audit = {VOID: _audit_void, OPENING: _audit_opening}.get(event["event_type"], _audit_content)
    yield from audit(event, stream)


def _audit_void(void: Event, stream: str) -> Iterator[Finding]:
    """All of a void follows from its stream, its version and when it was made."""
    version = void["version"]
    if void["_id"] != void_event_id(stream, version):
        detail = f"the void of version {version} is {void['_id']}"
        yield Finding(Kind.VOID, Fault.WRONG_ID, stream, detail)
    elif _is_about(void, stream):
        expected = void_document(stream, version, void["recorded_at"])
        del expected["slot"]  # it has a finding of its own
        what = f"the void of version {version} has another"
        yield from differs(Kind.EVENT, stream, what, differing(expected, void))


_OPENINGS: Mapping[tuple[str, ...] | None, type[BaseModel]] = {
    LEARNER: OpeningRecord,
    ("course",): CourseOpening,
    ("user",): UserOpening,
}
"""What the record in an opening event must be like, by what its stream is about."""


def _audit_opening(opening: Event, stream: str) -> Iterator[Finding]:
    """Its `_id` follows from its place; what it says must have the shape that folds read, and its fingerprint."""
    metadata, version, shape = opening["metadata"], opening["version"], _OPENINGS.get(_place_of(stream).kind)
    place = opening["event_data"] if shape is OpeningRecord else opening["personal"]
    details = place.get("details")
    record = details.get("record") if isinstance(details, Mapping) else None
    shaped = shape is not None and isinstance(record, Mapping) and not misfits_of((shape,), record)
    wrong = [
        ("_id", opening["_id"] != opening_event_id(stream, version)),
        ("metadata.timestamp", metadata["timestamp"] != opening["occurred_at"]),
        ("metadata.source", metadata["source"] is not None),
        ("metadata.origin", metadata.get("origin") != ADOPTED),
        ("event_data.details.record", not shaped),
    ]
    what = f"the opening of version {version} has another"
    yield from differs(Kind.EVENT, stream, what, [path for path, is_wrong in wrong if is_wrong])
    if shaped and opening["key_id"] is None and opening_fingerprint(opening) != metadata["fingerprint"]:
        detail = f"the opening of version {version} is not what was adopted"
        yield Finding(Kind.EVENT, Fault.FINGERPRINT_DIFFERENT, stream, detail)


def _audit_content(event: Event, stream: str) -> Iterator[Finding]:
    metadata = event["metadata"]
    wrong = [
        ("metadata.timestamp", metadata["timestamp"] != event["occurred_at"]),
        ("metadata.source", metadata["source"] is None),
        ("metadata.fingerprint", len(metadata["fingerprint"]) != _FINGERPRINT_BYTES),
        ("metadata.traceparent", not _has_trace_as_kept(event)),
        ("schema_version", event["schema_version"] not in _SCHEMA_VERSIONS),
        ("event_type", event["event_type"] not in EVENT_TYPES),
    ]
    paths = [path for path, is_wrong in wrong if is_wrong]
    yield from differs(Kind.EVENT, stream, f"event {event['_id']} has another", paths)
    if agrees(event) is False:
        detail = f"event {event['_id']} is not what its producer sent"
        yield Finding(Kind.EVENT, Fault.FINGERPRINT_DIFFERENT, stream, detail)


def _has_trace_as_kept(event: Event) -> bool:
    """Whether the trace of an event is one that ingest could have kept; most events have none."""
    kept = event["metadata"].get(PARENT), event["metadata"].get(STATE)
    return kept == (None, None) or kept == trace_in(event)


class _Place(NamedTuple):
    """What follows from the name of a stream: its entities, its kind, its slot."""

    entities: Mapping[str, ObjectId] | None
    kind: tuple[str, ...] | None
    slot: int


@lru_cache(maxsize=256)
def _place_of(stream: str) -> _Place:
    """Asked for each event: the same for all of a stream."""
    return _Place(parse_stream_id(stream), stream_kind(stream), stream_slot(stream))


def _is_about(event: Event, stream: str) -> bool:
    """The event names the entities that its stream is about."""
    entities = _place_of(stream).entities
    data = event["event_data"]
    return entities is not None and all(data.get(name) == each for name, each in entities.items())
