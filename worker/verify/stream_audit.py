"""Compares one stream's events with its rows and its progress document: values in, findings out, no I/O."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson

from projections.event import VOID, StoredEvent
from projections.progress import FOLDED_PATHS, PROJECTION_VERSION, fold, refold
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import interaction_row
from worker.storage.reading import Unreadable
from worker.verify.event_audit import event_faults, malformed
from worker.verify.findings import Finding, FindingKind
from worker.verify.sources import Sources

_DIGEST_BYTES = 16
_MODES = ("live", "retry", "replay")
# Nothing is recorded after it.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding, and when the newest event it rests on was recorded; None when time cannot excuse it."""

    finding: Finding
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a check keeps of a progress document, which may be large: its versions and a digest of each path.

    `version` is None for a document that does not say which events it has seen, or that nobody can read.
    """

    version: int | None
    projection_version: int | None
    digests: Mapping[str, bytes]
    unreadable: Unreadable | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Recorded":
        """Read at any time; its events are folded up to the document's own version."""
        return cls(
            _whole(document.get("version")),
            _whole(document.get("projection_version")),
            {path: _path_digest(path, document) for path in FOLDED_PATHS},
        )

    @property
    def comparable(self) -> bool:
        """Other code's documents are not compared."""
        return self.version is not None and self.projection_version == PROJECTION_VERSION


@dataclass(slots=True)
class StreamAudit:
    """One stream, fed with its events in version order and then with its rows.

    Keeps of each event its row's digest, and of the document and its fold digests, so that a stream of any length
    fits in memory. `record` is None where the stream has no document. `sources`, if given, notes the records of the
    events.
    """

    stream: str
    record: Recorded | None
    latest: datetime = _END_OF_TIME
    sources: Sources | None = None
    events: int = 0
    voids: int = 0
    last_version: int = 0
    rows: int = 0
    waiting_since: datetime | None = None
    """When the first event that the document has not seen was recorded."""
    _faults: list[Fault] = field(default_factory=list)
    _repeated: list[Finding] = field(default_factory=list)
    _expected: dict[bytes, bytes | None] = field(default_factory=dict)
    _recorded: dict[bytes, datetime] = field(default_factory=dict)
    _met: set[bytes] = field(default_factory=set)
    _extra: list[object] = field(default_factory=list)
    _folded: dict[str, Any] | None = None
    _broken: bool = False

    def feed(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take the next events of the stream, in version order."""
        for event in events:
            self._check(event)
        self._fold([event for event in events if event["version"] <= self._document_version])

    def close(self) -> None:
        """All events were fed: the fold is compared and let go."""
        self._faults += self._progress_faults()
        self._folded = None

    def meet(self, row: Mapping[str, Any]) -> None:
        """Take one row of the time series that names this stream's learner and course."""
        self.rows += 1
        identity = row.get("_id")
        key = identity.bytes if isinstance(identity, UUID) else b""
        if key not in self._expected:
            self._extra.append(identity)
            return
        if key in self._met:
            self._report(FindingKind.ROW_DOUBLED, f"event {identity} has several rows")
        self._met.add(key)
        expected = self._expected[key]
        if expected is not None and digest(row) != expected:
            self._report(FindingKind.ROW_DIFFERENT, f"the row of event {identity} is not what it must be")

    def take_faults(self) -> list[Fault]:
        """What was found since the last call."""
        taken, self._faults = self._faults, []
        return taken

    def take_repeated(self) -> list[Finding]:
        """Events of a record that is another event's, since the last call: no second look can excuse them."""
        taken, self._repeated = self._repeated, []
        return taken

    @property
    def extra_rows(self) -> Sequence[object]:
        """Ids of rows without an event of this stream; it may have been stored after the events were read."""
        return self._extra

    @property
    def lacks_rows(self) -> bool:
        """Some events have no row, now that all rows were met."""
        return len(self._met) < len(self._expected)

    def missing_rows(self) -> Iterator[Fault]:
        """Those events."""
        for key in self._expected:
            if key not in self._met:
                detail = f"event {UUID(bytes=key)} has no row"
                finding = Finding(FindingKind.ROW_MISSING, self.stream, detail)
                yield Fault(finding, self._recorded.get(key))

    @property
    def behind(self) -> bool:
        """The document is missing, waits for events, or for newer code than it was made by."""
        if self.record is None:
            return self.events > 0
        if self.record.version is None or self.record.projection_version is None:
            return False
        if self.record.projection_version != PROJECTION_VERSION:
            return self.record.projection_version < PROJECTION_VERSION
        return self._document_version < self.last_version

    def overdue(self, before: datetime) -> bool:
        """Behind, and for an event that was recorded before then; never where older code made the document."""
        known = self.record is None or self.record.comparable
        return known and self.behind and self.waiting_since is not None and self.waiting_since < before

    @property
    def _document_version(self) -> int:
        known = self.record.version if self.record is not None and self.record.comparable else None
        return known or 0

    def _check(self, event: Mapping[str, Any]) -> None:
        self.events += 1
        self.voids += event.get("event_type") == VOID
        wrong = malformed(event)
        if wrong is not None:
            self._report(*wrong)
            self._broken = True
        self._check_version(event)
        if event["version"] > self._document_version and self.waiting_since is None:
            self.waiting_since = _moment(event.get("recorded_at"))
        if wrong is not None:
            if isinstance(event.get("_id"), UUID):
                self._expected[event["_id"].bytes] = None
            return
        for kind, detail in event_faults(event, self.stream, self.latest):
            self._report(kind, detail)
        if event["event_type"] != VOID:
            self._expect(event)

    def _check_version(self, event: Mapping[str, Any]) -> None:
        version, expected = event["version"], self.last_version + 1
        if version > expected:
            self._report(
                FindingKind.VERSION_HOLE,
                f"versions {expected} to {version - 1} are absent",
                _moment(event.get("recorded_at")),
            )
            self._broken = True
        elif version < expected:
            self._report(FindingKind.VERSION_REPEATED, f"version {version} occurs again")
            self._broken = True
        self.last_version = max(version, self.last_version)

    def _expect(self, event: Mapping[str, Any]) -> None:
        """Its row; and that no other event came from its record."""
        key = event["_id"].bytes
        self._expected[key] = digest(interaction_row(event))
        self._recorded[key] = event["recorded_at"]
        source = event["metadata"]["source"]
        if self.sources is not None and source and self.sources.seen(source, event["recorded_at"]):
            detail = f"the record of event {event['_id']} is that of another event"
            self._repeated.append(Finding(FindingKind.EVENT_SOURCE_REPEATED, self.stream, detail))

    def _fold(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Fold one slice; a stream with a hole, or one that cannot be folded, is reported once and left."""
        if not events or self._broken:
            return
        try:
            stored = [StoredEvent.from_document(event) for event in events]
            if self._folded is None:
                self._folded = refold(stored, None, "replay")
            else:
                self._folded = fold(self._folded, stored, "replay")
        except Exception as error:
            # One stream's fold may fail for any reason; the others are still checked.
            self._report(
                FindingKind.FOLD_FAILED, f"{type(error).__name__} at version {events[0]['version']} or later"
            )
            self._broken = True

    def _progress_faults(self) -> Iterator[Fault]:
        """How the document differs from its events folded up to its own version."""
        if self.record is None or not self.record.comparable or self._broken or not self.events:
            return
        if self._document_version > self.last_version:
            detail = f"document at version {self._document_version}, the store ends at {self.last_version}"
            yield Fault(Finding(FindingKind.PROGRESS_AHEAD, self.stream, detail))
            return
        if different := differing_paths(self._folded or {}, self.record):
            detail = f"differs from its events in {', '.join(different)}"
            yield Fault(Finding(FindingKind.PROGRESS_DIFFERENT, self.stream, detail))

    def _report(self, kind: FindingKind, detail: str, recorded_at: datetime | None = None) -> None:
        self._faults.append(Fault(Finding(kind, self.stream, detail), recorded_at))


def differing_paths(folded: Mapping[str, Any], record: Recorded) -> list[str]:
    """Top-level paths in which a document is not what the fold says, whoever met its milestones first."""
    return [path for path in FOLDED_PATHS if _path_digest(path, folded) != record.digests[path]]


def _path_digest(path: str, document: Mapping[str, Any]) -> bytes:
    return digest({path: _comparable(path, document.get(path))})


def _comparable(path: str, value: Any) -> Any:
    """Milestones without `by`: which mode met one first is history that a refold cannot know."""
    if path != "milestones" or not isinstance(value, Mapping):
        return value
    return {kind: _without_mode(reached) for kind, reached in value.items()}


def _without_mode(reached: Any) -> Any:
    if not isinstance(reached, Mapping) or reached.get("by") not in _MODES:
        return reached
    return {name: each for name, each in reached.items() if name != "by"}


def digest(document: Mapping[str, Any]) -> bytes:
    """16 bytes that are equal for documents equal in every value and BSON type, whatever their fields' order.

    A time series does not keep the order of fields.
    """
    encoded = bson.encode(_ordered(document), codec_options=CODEC_OPTIONS)
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else None
