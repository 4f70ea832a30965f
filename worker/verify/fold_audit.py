"""A stream's document: what it says of itself, and the fold of its events. Values in, findings out, no I/O."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import bson
from bson import ObjectId

from projections.event import StoredEvent
from projections.kinds import StreamProjection
from projections.paths import ABSENT, at
from projections.without_effect import refused_by_reason
from worker.contract.identity import parse_stream_id, stream_object_id, stream_slot
from worker.errors import without_values
from worker.storage.database import CODEC_OPTIONS, Document
from worker.storage.reading import Unreadable
from worker.storage.skipped_versions import NO_SKIPS, Skips
from worker.verify.findings import Fault, Finding, differs, malformed

IDENTITY = ("_id", "rev", "stream_id", "user_id", "course_id", "slot", "version", "projection_version")
"""What is read of the document, whichever code wrote it last."""

_DIGEST_BYTES = 16
# The server removes what is over by its own clock.
_CLOCKS_DIFFER = timedelta(minutes=5)
# Most values, by far.
_PLAIN = frozenset({str, int, float, bool, type(None), datetime, ObjectId, UUID, bytes})
_MODES = ("live", "retry", "replay")


@dataclass(frozen=True, slots=True)
class DocumentDigest:
    """What a check keeps of a document, which may be large: its versions and a digest of each path.

    `version` is None for a document that does not say which events it has seen, or that nobody can read.
    """

    version: int | None
    projection_version: int | None
    digests: Mapping[str, bytes]
    unreadable: Unreadable | None = None
    without_effect: Mapping[str, int] = field(default_factory=dict)
    """How many events of the stream it says have no effect, by why."""

    @classmethod
    def of(cls, document: Mapping[str, Any], paths: Sequence[str]) -> "DocumentDigest":
        """Read at any time; its events are folded up to the document's own version."""
        return cls(
            _whole(document.get("version")),
            _whole(document.get("projection_version")),
            {path: _path_digest(path, document) for path in paths},
            without_effect=refused_by_reason(document),
        )

    def comparable_version(self, projection: StreamProjection) -> int | None:
        """Up to which event it has folded; None for other code's document, which is not compared."""
        return self.version if self.projection_version == projection.version else None


@dataclass(slots=True)
class FoldAudit:
    """One stream's document (None: there is none), and the fold of its events up to the document's own version.

    `skips` are the decisions about the stream, read after the document. What was over at `now` may be gone.
    """

    stream: str
    projection: StreamProjection
    document: DocumentDigest | None
    skips: Skips = NO_SKIPS
    now: datetime | None = None
    events: int = 0
    last_version: int = 0
    waiting_since: datetime | None = None
    """When the first event that the document has not seen was recorded."""
    _folded: dict[str, Any] | None = None
    _broken: bool = False
    _unbegun: bool = False

    def feed(self, events: Sequence[Document]) -> Iterator[Finding]:
        """Take the next events of the stream, in version order; a stream that cannot be folded is reported once."""
        folded_to = self._version or 0
        for event in events:
            self.events += 1
            self.last_version = max(self.last_version, event["version"])
            if event["version"] > folded_to and self.waiting_since is None:
                self.waiting_since = date_in(event, "recorded_at")
        # For an event that begins it, or for its end.
        waits = self.document is None and self.projection.may_be_absent
        seen = [event for event in events if waits or event["version"] <= folded_to]
        if not seen or self._broken:
            return
        try:
            stored = [StoredEvent.from_document(event) for event in self.skips.applied(seen)]
            if self._folded is None:
                self._folded = self.projection.refold(stored, None, "replay")
            else:
                self._folded = self.projection.fold(self._folded, stored, "replay")
        except Exception as error:  # one stream's fold may fail for any reason; the others are still checked
            detail = f"{without_values(error)} at version {seen[0]['version']} or later"
            yield self._finding(Fault.FOLD_FAILED, detail)
            self.stop()

    def stop(self, at: Mapping[str, Any] | None = None) -> None:
        """The events are not whole: nothing can be said of the document, unless it leaves out the one `at` fault."""
        self._broken = self._broken or at is None or not self.skips.covers(at)

    def close(self) -> Iterator[Finding]:
        """All events were fed: the fold is compared and let go."""
        folded, self._folded, version = self._folded or {}, None, self._version
        may_be_absent = not self.projection.has_begun(folded) or self._is_over(folded) if folded else False
        self._unbegun = self.document is None and may_be_absent
        if version is None or self._broken or not self.events:
            return
        if version > self.last_version:
            detail = f"document at version {version}, the store ends at {self.last_version}"
            yield self._finding(Fault.AHEAD, detail)
        else:
            what = "differs from its events in"
            yield from differs(self.projection.name, self.stream, what, self._differing(folded))

    def _is_over(self, folded: Mapping[str, Any]) -> bool:
        at = folded.get(self.projection.expires) if self.projection.expires else None
        return self.now is not None and isinstance(at, datetime) and at <= self.now + _CLOCKS_DIFFER

    @property
    def behind(self) -> Finding | None:
        """The document is missing, waits for events, or for newer code than it was made by."""
        if self.document is None:
            detail = f"no document for {self.events} events"
            return self._finding(Fault.MISSING, detail) if self.events and not self._unbegun else None
        version, made_by = self.document.version, self.document.projection_version
        if version is None or made_by is None or made_by > self.projection.version:
            return None
        if made_by == self.projection.version and version >= self.last_version:
            return None
        detail = f"document at version {version} of {self.last_version}"
        return self._finding(Fault.BEHIND, detail)

    @property
    def overdue_since(self) -> datetime | None:
        """Since when it is behind; None where older code made the document, which waits for that alone."""
        return self.waiting_since if self.document is None or self._version is not None else None

    @property
    def _version(self) -> int | None:
        return self.document.comparable_version(self.projection) if self.document else None

    def _differing(self, folded: Mapping[str, Any]) -> list[str]:
        """Top-level paths in which the document is not what the fold says, whoever met its milestones first."""
        stored = self.document.digests if self.document else {}
        return [path for path in self.projection.paths if _path_digest(path, folded) != stored[path]]

    def _finding(self, fault: Fault, detail: str) -> Finding:
        return Finding(self.projection.name, fault, self.stream, detail)


def audit_identity(
    projection: StreamProjection, document: Mapping[str, Any], streams: Set[str], served: int
) -> Iterator[Finding]:
    """`streams` are those that have events, `served` is the newest version by which anybody folds now."""
    target = projection.target
    if unshaped := malformed(target.collection, document, target.shapes, only=IDENTITY):
        yield unshaped
        return
    stream, version = document["stream_id"], document["projection_version"]
    if stream not in streams or not projection.folds(stream) or document["_id"] != stream_object_id(stream):
        detail = f"document {document['_id']} belongs to no stored stream"
        yield Finding(projection.name, Fault.UNKNOWN, stream, detail)
    elif version != projection.version:
        yield from differs(projection.name, stream, "differs from its stream in", _misplaced(document))
    if version > max(projection.version, served):
        code = f"this code is {projection.version} and leaves it alone"
        detail = f"made by projection version {version}; {code}"
        yield Finding(projection.name, Fault.NEWER, stream, detail)


def _misplaced(document: Mapping[str, Any]) -> list[str]:
    """What other code's document says otherwise of where it belongs; all else is that code's."""
    expected = {**(parse_stream_id(document["stream_id"]) or {}), "slot": stream_slot(document["stream_id"])}
    return [path for path, value in expected.items() if document.get(path, value) != value]


def digest(document: Mapping[str, Any], *, without: str | None = None) -> bytes:
    """16 bytes that are equal for documents equal in every value and BSON type, whatever their fields' order.

    A time series does not keep the order of fields. `without` is a field by which the document is known already.
    """
    ordered = _ordered(document)
    ordered.pop(without, None)
    encoded = bson.encode(ordered, codec_options=CODEC_OPTIONS)
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


def date_in(document: Mapping[str, Any], path: str) -> datetime | None:
    """The date of that name, if it is one."""
    value = document.get(path)
    return value if isinstance(value, datetime) else None


def _path_digest(path: str, document: Mapping[str, Any]) -> bytes:
    value = at(document, path) if "." in path else document.get(path)
    return digest({path: _without_modes(path, None if value is ABSENT else value)})


def _without_modes(path: str, value: Any) -> Any:
    """Milestones without `by`: which mode met one first is history that a refold cannot know."""
    if path != "milestones" or not isinstance(value, Mapping):
        return value
    shown = dict(value)
    for kind, reached in value.items():
        if isinstance(reached, Mapping) and reached.get("by") in _MODES:
            shown[kind] = {name: each for name, each in reached.items() if name != "by"}
    return shown


def _ordered(value: Any) -> Any:
    """Called for each event and each row: what holds nothing is not looked into."""
    if type(value) is dict or isinstance(value, Mapping):
        return {
            name: each if type(each := value[name]) in _PLAIN else _ordered(each) for name in sorted(value)
        }
    if isinstance(value, list | tuple):
        return [each if type(each) in _PLAIN else _ordered(each) for each in value]
    return value


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
