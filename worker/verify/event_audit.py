"""What one stored event must be by itself: its shape, its place, and all that it says twice. No I/O."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from projections.event import VOID
from worker.contract.families import EVENT_TYPES
from worker.contract.fingerprint import agrees
from worker.contract.identity import parse_stream_id, stream_slot, void_event_id
from worker.contract.upcasters import UPCASTERS, newest_version, oldest_version
from worker.storage.documents import void_document
from worker.storage.reading import name_of
from worker.verify.findings import Fault, Finding, Kind, differs
from worker.verify.sameness import differing
from worker.verify.shapes import misfits, misfits_named

Event = Mapping[str, Any]

# SHA-256.
_FINGERPRINT_BYTES = 32
_SCHEMA_VERSIONS = range(oldest_version(UPCASTERS), newest_version(UPCASTERS) + 1)


def malformed_event(event: Event, stream: str) -> Finding | None:
    """Why nothing further can be said of the event, if that is so."""
    paths = misfits("course_events", event)
    detail = f"event {name_of(event.get('_id'))}: {misfits_named(paths)}"
    return Finding(Kind.DOCUMENT, Fault.MALFORMED, stream, detail) if paths else None


def audit_event(event: Event, stream: str, latest: datetime) -> Iterator[Finding]:
    """What is wrong with a well-formed event of `stream`; nothing was recorded after `latest`."""
    if not _is_about(event, stream) or event["slot"] != stream_slot(stream):
        detail = f"event {event['_id']} is in the wrong stream or slot"
        yield Finding(Kind.EVENT, Fault.MISFILED, stream, detail)
    if event["recorded_at"] > latest:
        detail = f"event {event['_id']} was recorded in the future"
        yield Finding(Kind.EVENT, Fault.DIFFERENT, stream, detail)
    yield from _audit_void(event, stream) if event["event_type"] == VOID else _audit_content(event, stream)


def _audit_void(void: Event, stream: str) -> Iterator[Finding]:
    """All of a void follows from its stream, its version and when it was made."""
    version = void["version"]
    if void["_id"] != void_event_id(stream, version):
        detail = f"the void of version {version} is {void['_id']}"
        yield Finding(Kind.VOID, Fault.WRONG_ID, stream, detail)
    elif _is_about(void, stream):
        what = f"the void of version {version} has another"
        yield from differs(Kind.EVENT, stream, what, _void_differs(void, stream))


def _void_differs(void: Event, stream: str) -> list[str]:
    expected = void_document(stream, void["version"], void["recorded_at"])
    # The slot has a finding of its own.
    return differing({name: value for name, value in expected.items() if name != "slot"}, void)


def _audit_content(event: Event, stream: str) -> Iterator[Finding]:
    metadata = event["metadata"]
    wrong = [
        ("metadata.timestamp", metadata["timestamp"] != event["occurred_at"]),
        ("metadata.source", metadata["source"] is None),
        ("metadata.fingerprint", len(metadata["fingerprint"]) != _FINGERPRINT_BYTES),
        ("schema_version", event["schema_version"] not in _SCHEMA_VERSIONS),
        ("event_type", event["event_type"] not in EVENT_TYPES),
    ]
    paths = [path for path, is_wrong in wrong if is_wrong]
    yield from differs(Kind.EVENT, stream, f"event {event['_id']} has another", paths)
    if agrees(event) is False:
        detail = f"event {event['_id']} is not what its producer sent"
        yield Finding(Kind.EVENT, Fault.FINGERPRINT_DIFFERENT, stream, detail)


def _is_about(event: Event, stream: str) -> bool:
    """The event names the entities that its stream is about."""
    entities = parse_stream_id(stream)
    data = event["event_data"]
    return entities is not None and all(data.get(name) == each for name, each in entities.items())
