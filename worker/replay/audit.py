"""Compares one stream's events with its rows and its progress document: values in, findings out, no I/O."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import bson
from bson import ObjectId

from projections.event import VOID, StoredEvent
from projections.progress import FOLDED_PATHS, PROJECTION_VERSION, fold, refold
from worker.contract.identity import stream_id, stream_slot, void_event_id
from worker.replay.verification import Finding, FindingKind
from worker.storage.database import CODEC_OPTIONS
from worker.storage.documents import interaction_row

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding, and when the newest event it rests on was recorded; None when time cannot excuse it."""

    finding: Finding
    recorded_at: datetime | None = None


@dataclass(slots=True)
class _Expected:
    """The one row an event must have, by digest, and how often it was met."""

    digest: bytes
    recorded_at: datetime
    met: int = 0


@dataclass(slots=True)
class StreamAudit:
    """One stream, fed with its events in version order and then with its rows.

    Keeps of each event only its row's digest, so a stream of any length fits in memory. `document` is the
    stream's progress document, read at any time; its events are folded up to its own version.
    """

    stream: str
    document: Mapping[str, Any] | None
    events: int = 0
    voids: int = 0
    last_version: int = 0
    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    _expected: dict[UUID, _Expected] = field(default_factory=dict)
    _extra: list[UUID] = field(default_factory=list)
    _folded: dict[str, Any] | None = None
    _broken: bool = False

    def feed(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take the next events of the stream, in version order."""
        for event in events:
            self._check_version(event)
            self._check_event(event)
        self._fold([event for event in events if event["version"] <= self._document_version])

    def meet(self, row: Mapping[str, Any]) -> None:
        """Take one row of the time series that names this stream's learner and course."""
        self.rows += 1
        expected = self._expected.get(row["_id"])
        if expected is None:
            self._extra.append(row["_id"])
            return
        expected.met += 1
        if expected.met > 1:
            self._report(FindingKind.ROW_DOUBLED, f"event {row['_id']} has {expected.met} rows")
        if digest(row) != expected.digest:
            self._report(FindingKind.ROW_DIFFERENT, f"the row of event {row['_id']} is not what it must be")

    @property
    def extra_rows(self) -> tuple[UUID, ...]:
        """Ids of rows without an event of this stream; it may have been stored after the events were read."""
        return tuple(self._extra)

    @property
    def behind(self) -> bool:
        """The document is missing or waits for events; other code's documents are not judged."""
        if self.document is None:
            return self.events > 0
        return self.comparable and self._document_version < self.last_version

    @property
    def comparable(self) -> bool:
        return self.document is not None and self.document["projection_version"] == PROJECTION_VERSION

    def missing_rows(self) -> list[Fault]:
        """Events without a row, now that all rows were met."""
        return [
            Fault(
                Finding(FindingKind.ROW_MISSING, self.stream, f"event {event_id} has no row"), row.recorded_at
            )
            for event_id, row in self._expected.items()
            if row.met == 0
        ]

    def progress_faults(self) -> list[Fault]:
        """How the document differs from its events folded up to its own version."""
        if not self.comparable or self.document is None or self._broken:
            return []
        if self._document_version > self.last_version:
            detail = f"document at version {self._document_version}, the store ends at {self.last_version}"
            return [Fault(Finding(FindingKind.PROGRESS_AHEAD, self.stream, detail))]
        different = differing_paths(self._folded or {}, self.document)
        if not different:
            return []
        detail = f"differs from its events in {', '.join(different)}"
        return [Fault(Finding(FindingKind.PROGRESS_DIFFERENT, self.stream, detail))]

    @property
    def _document_version(self) -> int:
        return int(self.document["version"]) if self.comparable and self.document is not None else 0

    def _check_version(self, event: Mapping[str, Any]) -> None:
        version, expected = event["version"], self.last_version + 1
        if version > expected:
            self._report(
                FindingKind.VERSION_HOLE,
                f"versions {expected} to {version - 1} are absent",
                event["recorded_at"],
            )
            self._broken = True
        elif version < expected:
            self._report(FindingKind.VERSION_REPEATED, f"version {version} occurs again")
            self._broken = True
        self.last_version = max(version, self.last_version)

    def _check_event(self, event: Mapping[str, Any]) -> None:
        self.events += 1
        data, version = event["event_data"], event["version"]
        owner = stream_id(data["course_id"], data["user_id"])
        if owner != self.stream or event["slot"] != stream_slot(self.stream):
            self._report(FindingKind.EVENT_MISFILED, f"event {event['_id']} is in the wrong stream or slot")
        if event["event_type"] == VOID:
            self.voids += 1
            if event["_id"] != void_event_id(self.stream, version):
                self._report(FindingKind.VOID_WRONG_ID, f"the void of version {version} is {event['_id']}")
            return
        self._expected[event["_id"]] = _Expected(digest(interaction_row(event)), event["recorded_at"])

    def _fold(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Fold one slice; a stream with a hole, or one that cannot be folded, is reported once and left."""
        if not events or self._broken:
            return
        stored = [StoredEvent.from_document(event) for event in events]
        try:
            if self._folded is None:
                self._folded = refold(stored, self.document, "replay")
            else:
                self._folded = fold(self._folded, stored, "replay")
        except Exception as error:
            # One stream's fold may fail for any reason; the others are still checked.
            self._report(
                FindingKind.FOLD_FAILED, f"{type(error).__name__} at version {events[0]['version']} or later"
            )
            self._broken = True

    def _report(self, kind: FindingKind, detail: str, recorded_at: datetime | None = None) -> None:
        self.faults.append(Fault(Finding(kind, self.stream, detail), recorded_at))


def differing_paths(folded: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Top-level paths in which a document is not what the fold says, whoever met its milestones first."""
    return [path for path in FOLDED_PATHS if _path_digest(path, folded) != _path_digest(path, document)]


def _path_digest(path: str, document: Mapping[str, Any]) -> bytes:
    return digest({path: _comparable(path, document.get(path))})


def _comparable(path: str, value: Any) -> Any:
    """Milestones without `by`: which mode met one first is history that a refold cannot know."""
    if path != "milestones" or not isinstance(value, Mapping):
        return value
    return {
        kind: {name: one for name, one in reached.items() if name != "by"}
        if isinstance(reached, Mapping)
        else reached
        for kind, reached in value.items()
    }


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


def owner(event: Mapping[str, Any]) -> tuple[ObjectId, ObjectId]:
    """The learner and course of an event."""
    return event["event_data"]["user_id"], event["event_data"]["course_id"]
