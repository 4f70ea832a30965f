"""What one stored event must be by itself: its shape, its place, and all that it says twice. No I/O."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from projections.event import VOID
from worker.contract.fingerprint import agrees
from worker.contract.identity import stream_id, stream_slot, void_event_id
from worker.contract.models import MODELS
from worker.contract.upcasters import UPCASTERS, newest_version, oldest_version
from worker.storage.documents import void_document
from worker.storage.reading import name_of
from worker.verify.findings import FindingKind
from worker.verify.sameness import differing
from worker.verify.shapes import misfits, told

Event = Mapping[str, Any]
Fault = tuple[FindingKind, str]

# SHA-256.
_FINGERPRINT_BYTES = 32
_SCHEMA_VERSIONS = range(oldest_version(UPCASTERS), newest_version(UPCASTERS) + 1)


def malformed(event: Event) -> Fault | None:
    """Why nothing further can be said of the event, if that is so."""
    paths = misfits("course_events", event)
    return (
        (FindingKind.DOCUMENT_MALFORMED, f"event {name_of(event.get('_id'))}: {told(paths)}")
        if paths
        else None
    )


def event_faults(event: Event, stream: str, latest: datetime) -> Iterator[Fault]:
    """What is wrong with a well-formed event of `stream`; nothing was recorded after `latest`."""
    if _owner(event) != stream or event["slot"] != stream_slot(stream):
        yield FindingKind.EVENT_MISFILED, f"event {event['_id']} is in the wrong stream or slot"
    if event["recorded_at"] > latest:
        yield FindingKind.EVENT_DIFFERENT, f"event {event['_id']} was recorded in the future"
    yield from _void_faults(event, stream) if event["event_type"] == VOID else _content_faults(event)


def _void_faults(void: Event, stream: str) -> Iterator[Fault]:
    """All of a void follows from its stream, its version and when it was made."""
    version = void["version"]
    if void["_id"] != void_event_id(stream, version):
        yield FindingKind.VOID_WRONG_ID, f"the void of version {version} is {void['_id']}"
        return
    if _owner(void) == stream and (paths := _void_differs(void, stream)):
        yield FindingKind.EVENT_DIFFERENT, f"the void of version {version} has another {', '.join(paths)}"


def _void_differs(void: Event, stream: str) -> list[str]:
    expected = void_document(stream, void["version"], void["recorded_at"])
    # The slot has a finding of its own.
    return differing({name: value for name, value in expected.items() if name != "slot"}, void)


def _content_faults(event: Event) -> Iterator[Fault]:
    metadata = event["metadata"]
    wrong = [
        ("metadata.timestamp", metadata["timestamp"] != event["occurred_at"]),
        ("metadata.source", metadata["source"] is None),
        ("metadata.fingerprint", len(metadata["fingerprint"]) != _FINGERPRINT_BYTES),
        ("schema_version", event["schema_version"] not in _SCHEMA_VERSIONS),
        ("event_type", event["event_type"] not in MODELS),
    ]
    if paths := [path for path, broken in wrong if broken]:
        yield FindingKind.EVENT_DIFFERENT, f"event {event['_id']} has another {', '.join(paths)}"
    if agrees(event) is False:
        yield FindingKind.EVENT_FINGERPRINT_DIFFERENT, f"event {event['_id']} is not what its producer sent"


def _owner(event: Event) -> str:
    data = event["event_data"]
    return stream_id(data["course_id"], data["user_id"])
