"""Invariants 2 and 3: the event store is the ledger's ok set, word for word, in dense versions."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from bson import ObjectId

from tests.oracle.case import Case, LogRecord
from tests.oracle.finding import miscounted, shortened
from tests.oracle.reported import moment, sha1, spelling
from tests.oracle.stored import Document

# Of version 00; neither trace nor span is all zeros.
_PARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_IDS = (
    *("user_id", "course_id", "lesson_id"),
    *("content_id", "block_id", "relationship_id", "workflow_id", "promotion_id"),
)
_WHOLE = {"course_enrolled": ("total_lessons",), "quiz_submitted": ("total_questions", "correct_answers")}


def stored_once(case: Case) -> Iterator[str]:
    """The event store holds the ledger's ok entries, each exactly once, and nothing else but voids."""
    certain = case.must_be_stored
    unsure = {event_id: 1 for event_id in case.may_be_stored if event_id not in certain}
    found = Counter(event["_id"] for event in case.stored.real_events)
    yield from miscounted("event", Counter(certain.keys()), found, allowed=unsure)


def bodies(case: Case) -> Iterator[str]:
    """Each event says what its producer's bytes say."""
    entries = case.may_be_stored
    for event in case.stored.real_events:
        entry = entries.get(event["_id"])
        if entry is not None:
            if entry.stream_id != event["stream_id"]:
                yield f"event {event['_id']} is in stream {event['stream_id']}, not {entry.stream_id}"
            if _said(json.loads(entry.value)) != _stored_body(event):
                yield f"event {event['_id']} does not say what its producer said"
            if event["metadata"].get("fingerprint_version") == 2 and _fingerprint(entry.value) != bytes(
                event["metadata"]["fingerprint"]
            ):
                yield f"event {event['_id']} has not the fingerprint of what its producer said"
            if event["slot"] != sha1(event["stream_id"])[-1]:
                yield f"event {event['_id']} is in slot {event['slot']}, where nobody looks for its stream"


def traces(case: Case) -> Iterator[str]:
    """Each event belongs to the trace that the headers of its record name, and to none where they name none."""
    log = case.evidence.log
    records: dict[tuple[Any, ...], LogRecord] = {}
    records |= {(each.topic, each.partition, each.offset): each for each in log.records} if log else {}
    for event in case.stored.real_events:
        source = event["metadata"]["source"] or {}
        record = records.get((source.get("topic"), source.get("partition"), source.get("offset")))
        if record is None or str(event["_id"]).encode() not in (record.value or b"").lower():
            continue
        named = [value or b"" for name, value in record.headers if name == "traceparent"][-1:]
        expected = named[0].decode() if named and _PARENT.fullmatch(named[0]) else None
        if event["metadata"].get("traceparent") != expected:
            yield f"event {event['_id']} does not belong to the trace that its record names"


def dense_versions(case: Case) -> Iterator[str]:
    """Versions of every stream are 1 to n."""
    for stream, events in case.stored.streams.items():
        versions = [event["version"] for event in events]
        if versions != list(range(1, len(versions) + 1)):
            yield f"versions of {stream} are not 1 to {len(versions)}: {shortened(str(versions))}"


def ordered_versions(case: Case) -> Iterator[str]:
    """Versions follow the order of the ledger, where that was the order of the partition.

    What comes by another topic, as what the worker itself says of a learner, has an order of its own, and may take
    the version that an event of this one was to have: it then gets one behind those that came with it.
    """
    if not case.in_order:
        return
    position = {entry.event_id: number for number, entry in enumerate(case.ledger) if entry.kind == "ok"}
    for stream, events in case.stored.streams.items():
        sources = [event["metadata"]["source"] for event in events]
        if len({source["topic"] for source in sources if source}) > 1:
            continue
        places = [position[event["_id"]] for event in events if event["_id"] in position]
        if places != sorted(places):
            yield f"versions of {stream} do not follow the order of publishing"


def canonical(details: Mapping[str, Any]) -> str:
    """Details as a text that is equal for equal details."""
    return json.dumps(details, sort_keys=True, default=str)


def _said(fields: Mapping[str, Any]) -> Mapping[str, Hashable]:
    """A producer's JSON in the words of `_stored_body`."""
    return {
        "event_id": UUID(fields["event_id"]),
        "event_type": fields["event_type"],
        "occurred_at": moment(fields["occurred_at"]),
        **{name: ObjectId(fields[name]) if name in fields else None for name in _IDS},
        **{name: fields.get(name) for name in ("session_id", "device_type")},
        **{name: fields.get(name) for name in ("producer", "correlation_id", "user_agent")},
        "ip_address": _address(fields.get("ip_address")),
        "schema_version": fields.get("schema_version", 1),
        "value": json.dumps(fields.get("value")),
        "details": canonical(_details(fields)),
    }


def _details(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The producer's details in their one spelling: a certificate's date, numbers that are whole."""
    details = dict(fields.get("details", {}))
    if fields["event_type"] == "certificate_issued" and (until := moment(details.get("valid_until"))):
        details["valid_until"] = spelling(until)
    for name in _WHOLE.get(fields["event_type"], ()):
        details |= {name: int(details[name])} if name in details else {}
    return details


def _fingerprint(value: bytes) -> bytes:
    """SHA-256 of a producer's event in its one spelling (docs/contract.md)."""
    fields = json.loads(value)
    occurred_at = moment(fields["occurred_at"])
    assert occurred_at is not None
    changes = {
        **{
            name: fields[name].lower()
            for name in ("event_id", "user_id", "course_id", "lesson_id")
            if name in fields
        },
        "occurred_at": spelling(occurred_at),
        "schema_version": int(fields.get("schema_version", 1)),
        "details": _details(fields),
        **({"ip_address": _plain(fields["ip_address"])} if "ip_address" in fields else {}),
    }
    spelt = {name: said for name, said in {**fields, **changes}.items() if name != "details" or said}
    return hashlib.sha256(_json(spelt).encode()).digest()


def _json(value: Any) -> str:
    """Compact JSON with sorted keys; an exponent has neither a plus nor zeros in front."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(name)}:{_json(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, float):
        return repr(value).replace("e+", "e").replace("e-0", "e-")
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    """An address in its one spelling; one of IPv4 in the clothes of IPv6 is that of IPv4."""
    address = ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _stored_body(event: Document) -> Mapping[str, Hashable]:
    data, text = event["event_data"], event["personal"].get("text")
    details = {**data.get("details", {}), **event["personal"].get("details", {})}
    details |= {} if text is None else {"text": text}
    return {
        "event_id": event["_id"],
        "event_type": event["event_type"],
        "occurred_at": event["occurred_at"],
        **{name: data.get(name) for name in _IDS},
        **{name: data.get(name) for name in ("session_id", "device_type")},
        **{name: event["metadata"].get(name) for name in ("producer", "correlation_id")},
        "user_agent": event["personal"].get("user_agent"),
        "ip_address": _address(event["personal"].get("ip_address")),
        "schema_version": event["schema_version"],
        "value": json.dumps(data.get("value")),
        "details": canonical(details),
    }


def _address(text: str | None) -> Hashable:
    """Two spellings of one address are equal."""
    return None if text is None else ip_address(text)
