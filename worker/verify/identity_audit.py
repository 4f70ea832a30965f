"""What the document of a stream says of itself: whose it is, and which code made it. No I/O."""

from collections.abc import Iterator, Mapping, Set
from typing import Any

from projections.kinds import StreamProjection
from worker.contract.identity import parse_stream_id, stream_object_id, stream_slot
from worker.verify.findings import Fault, Finding, Kind, differs, subject_of
from worker.verify.shapes import misfits_named, misfits_of

Document = Mapping[str, Any]

IDENTITY = ("_id", "rev", "stream_id", "user_id", "course_id", "slot", "version", "projection_version")
"""What is read of the document, whichever code wrote it last."""


def audit_identity(
    projection: StreamProjection, document: Document, streams: Set[str], served: int
) -> Iterator[Finding]:
    """`streams` are those that have events, `served` is the newest version by which anybody folds now."""
    if paths := misfits_of(projection.target.shapes, document, only=IDENTITY):
        subject = subject_of(projection.target.collection, document)
        yield Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, misfits_named(paths))
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


def _misplaced(document: Document) -> list[str]:
    """What other code's document says otherwise of where it belongs; all else is that code's."""
    expected = {**(parse_stream_id(document["stream_id"]) or {}), "slot": stream_slot(document["stream_id"])}
    return [path for path, value in expected.items() if document.get(path, value) != value]
