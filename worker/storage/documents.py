"""The stored shapes of one event: a producer's, a void's, an opening's, and the time-series row."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from projections.event import OPENING, VOID
from worker.contract.event import Event
from worker.contract.fingerprint import FINGERPRINT_VERSION
from worker.contract.identity import opening_event_id, parse_stream_id, stream_slot, void_event_id
from worker.contract.source import Source
from worker.contract.trace_context import TraceContext
from worker.storage.driver import Document


def _add_present(document: Document, **optional: Any) -> Document:
    """The document with those fields that are there: absent ones take no room in storage."""
    for name, value in optional.items():
        if value is not None:
            document[name] = value
    return document


def event_document(
    event: Event,
    version: int,
    source: Source,
    recorded_at: datetime,
    curriculum: Mapping[str, Any] | None,
    *,
    origin: str | None = None,
    trace: TraceContext | None = None,
    time_zone: str | None = None,
) -> Document:
    """`course_events` document of an accepted event, `version` being its place in the stream (1, 2, 3 ...).

    Personal fields stand apart in `personal`, ready to be sealed under `key_id`. `origin` names the job that brought
    the event, None for one that came as it happened; `trace` is what its record's headers say of where it comes from;
    `time_zone` is the learner's. The fingerprint has none of them.
    """
    stream = event.stream_id
    data = _add_present(
        {},
        course_id=event.course_id,
        user_id=event.user_id,
        lesson_id=event.lesson_id,
        session_id=event.session_id,
        device_type=event.device_type,
        value=event.value,
    )
    if event.ids:
        data.update(event.ids)
    if event.details:
        data["details"] = event.details
    document: Document = {
        "_id": event.event_id,
        "stream_id": stream,
        "version": version,
        "event_type": event.event_type,
        "event_data": data,
        "metadata": {
            "timestamp": event.occurred_at,
            "correlation_id": event.correlation_id,
            "producer": event.producer,
            "fingerprint": event.fingerprint,
            "fingerprint_version": FINGERPRINT_VERSION,
            "source": source.document(),
        },
        "personal": _personal(event),
        "key_id": None,
        "curriculum": curriculum,
        "slot": stream_slot(stream),
        "occurred_at": event.occurred_at,
        "recorded_at": recorded_at,
        "schema_version": event.schema_version,
    }
    if trace is not None:
        _add_present(document["metadata"], traceparent=trace.parent, tracestate=trace.state)
    _add_present(document["metadata"], origin=origin)
    return _add_present(document, time_zone=time_zone)


def _personal(event: Event) -> Document:
    """What identifies a person."""
    apart = {"ip_address": event.ip_address, "text": event.text, "details": event.personal}
    return _add_present({}, user_agent=event.user_agent, **apart)


def void_document(stream: str, version: int, recorded_at: datetime) -> Document:
    """The event that fills a hole in a stream's versions. Everyone who fills the same hole makes the same `_id`.

    Raises ValueError for a text that names no stream.
    """
    about = parse_stream_id(stream)
    if about is None:
        raise ValueError(f"no stream has the name {stream[:100]!r}")
    return {
        "_id": void_event_id(stream, version),
        "stream_id": stream,
        "version": version,
        "event_type": VOID,
        "event_data": about,
        "metadata": {
            "timestamp": recorded_at,
            "correlation_id": None,
            "producer": None,
            "fingerprint": b"",
            "source": None,
        },
        "personal": {},
        "key_id": None,
        "curriculum": None,
        "slot": stream_slot(stream),
        "occurred_at": recorded_at,
        "recorded_at": recorded_at,
        "schema_version": 1,
    }


ADOPTED = "adopt"
"""`metadata.origin` of an opening event."""

_AS_STORED: CodecOptions[Document] = CodecOptions(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)


@dataclass(frozen=True, slots=True)
class Opening:
    """What an opening event says: the record (`OpeningRecord`) that somebody else kept until the event `at`.

    `texts` are its notes by lesson, and those of `uncounted`, copies of earlier events that are not in the record, by
    event; events up to `counted_until` are. `originals` are the bytes of the documents that the worker's replaced.
    """

    record: Mapping[str, Any]
    at: datetime
    texts: Mapping[str, str] = field(default_factory=dict)
    counted_until: datetime | None = None
    uncounted: Sequence[Mapping[str, Any]] = ()
    originals: Mapping[str, bytes] = field(default_factory=dict)


def opening_document(stream: str, version: int, opening: Opening, recorded_at: datetime) -> Document:
    """The event that says what an adopted record was; it is the stream's `version`.

    What may identify the learner (notes, the replaced documents) stands in `personal`. Raises ValueError for a text
    that names no stream.
    """
    document = void_document(stream, version, recorded_at)
    details = _add_present({"record": dict(opening.record)}, counted_until=opening.counted_until)
    if opening.uncounted:
        details["uncounted"] = [dict(each) for each in opening.uncounted]
    document |= {
        "_id": opening_event_id(stream, version),
        "event_type": OPENING,
        "event_data": {**document["event_data"], "details": details},
        "personal": {"texts": dict(opening.texts), "originals": dict(opening.originals)},
        "occurred_at": opening.at,
    }
    document["metadata"] |= {
        "timestamp": opening.at,
        "fingerprint": opening_fingerprint(document),
        "origin": ADOPTED,
    }
    return document


def opening_of_entity(
    stream: str, version: int, record: Mapping[str, Any], original: bytes, recorded_at: datetime, run: str
) -> Document:
    """The event that says what a document of a shared collection was when it was adopted, by this run of the job.

    All of it stands in `personal`: it may be a person's. `original` are its bytes. Raises ValueError for a text that
    names no stream.
    """
    document = void_document(stream, version, recorded_at)
    document |= {
        "_id": opening_event_id(stream, version),
        "event_type": OPENING,
        "event_data": {**document["event_data"], "details": {}},
        "personal": {"details": {"record": dict(record)}, "originals": {"document": original}},
    }
    document["metadata"] |= {
        "correlation_id": run,
        "fingerprint": opening_fingerprint(document),
        "origin": ADOPTED,
    }
    return document


def opening_fingerprint(event: Mapping[str, Any]) -> bytes:
    """The SHA-256 of what an opening event says, as BSON has it; its stream and moment aside."""
    said = {"details": event["event_data"]["details"], "personal": event["personal"]}
    return hashlib.sha256(bson.encode(said, codec_options=_AS_STORED)).digest()


def interaction_row(document: Mapping[str, Any]) -> Document:
    """`user_interactions` row of a stored event: the time series is a function of the event store.

    Free text is left out: rows cannot be rewritten one by one, so it lives in the event store only.
    """
    data, personal = document["event_data"], document["personal"]
    metadata = _add_present(
        {"user_id": data["user_id"]},
        session_id=data.get("session_id"),
        course_id=data.get("course_id"),
        lesson_id=data.get("lesson_id"),
        interaction_type=document["event_type"],
        device_type=data.get("device_type"),
        user_agent=personal.get("user_agent"),
        ip_address=personal.get("ip_address"),
    )
    row = {"_id": document["_id"], "timestamp": document["occurred_at"], "metadata": metadata}
    return {**_add_present(row, value=data.get("value")), "details": data.get("details", {})}
