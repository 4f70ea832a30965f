"""The fingerprint of an event: equal for equal events, however they were written, and the same from the stored one.

It is the SHA-256 of the event in its one spelling: compact JSON in UTF-8 with sorted keys, ids in small letters, the
address as it is stored, times as `2024-01-15T09:30:00.123Z`, `schema_version` always there, `details` only where they
hold something, and everything else as the producer wrote it. What is the same event in the store has the
same spelling: `1` and `1.0` are two numbers there, so they are two here. A change of this form takes a new version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from worker.contract.family import FURTHER_IDS
from worker.contract.models import Envelope
from worker.contract.personal import put_personal
from worker.contract.spelling import with_times_respelt
from worker.contract.times import spelt

FINGERPRINT_VERSION: Final = 2
"""Stored beside the fingerprint. Version 1 has no number there: it was taken of the producer's own spelling."""

_OWN: Final = ("void", "opening")  # the worker's own events, which no producer sent
_UTC: Final = ("Z", "+00:00")
_IDS: Final = ("event_id", "user_id", "course_id", "lesson_id", *FURTHER_IDS)
_SCALARS: Final = (str, int, float, type(None))  # what JSON has; a boolean is an int here


def of_record(
    fields: Mapping[str, Any], event: Envelope, canonical: bytes | None, further_ids: Sequence[str] = ()
) -> bytes:
    """The fingerprint of a valid event, from the fields of the newest `schema_version` it was validated from.

    `further_ids` are those of `FURTHER_IDS` that events of its family may have. `canonical` is the canonical JSON of
    exactly these fields, or None. Where a producer wrote the one spelling, it is hashed as it is.
    """
    changes = _changes(fields, event, further_ids)
    if changes or canonical is None:
        respelt = {**fields, **changes}
        if not respelt.get("details", True):
            del respelt["details"]
        canonical = orjson.dumps(respelt, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


def of_document(document: Mapping[str, Any]) -> bytes | None:
    """The fingerprint of the event in a `course_events` document; that of the record it was made of.

    None for an event of the worker's own, for sealed personal fields, and for what no event can be. Never raises.
    """
    record = record_of(document)
    return None if record is None else hashlib.sha256(record).digest()


def record_of(document: Mapping[str, Any]) -> bytes | None:
    """The event in a `course_events` document as a record's value, in its one spelling; None as in `of_document`."""
    try:
        fields = _fields(document)
        if document["event_type"] in _OWN or document["key_id"] is not None or not _is_json(fields):
            return None
        present = {name: value for name, value in fields.items() if value is not None}
        return orjson.dumps(present, option=orjson.OPT_SORT_KEYS)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, OverflowError):
        return None


def agrees(document: Mapping[str, Any]) -> bool | None:
    """Whether a stored event is what its fingerprint says it was. Pure, and never raises, whatever the document.

    None where nothing can be said: sealed personal fields, or a fingerprint of another version. One without a
    number is the worker's own, or was taken of the producer's spelling, which is not kept.
    """
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return False
    if metadata.get("fingerprint_version") != FINGERPRINT_VERSION or document.get("key_id") is not None:
        return None
    found = of_document(document)
    return found is not None and found == metadata.get("fingerprint")


def _changes(fields: Mapping[str, Any], event: Envelope, further_ids: Sequence[str]) -> dict[str, Any]:
    """What was written in another way than the one spelling. Asked of every event: cheap where it is nothing."""
    changes: dict[str, Any] = {}
    moment = fields["occurred_at"]
    # A valid time whose 24th character is the Z of UTC has milliseconds. A leap second is the next second.
    if moment[23:] != "Z" or moment[10] != "T" or moment[17] == "6":
        changes["occurred_at"] = _moment(moment, event.occurred_at)
    get = fields.get
    ids = fields["event_id"] + get("user_id", "") + get("course_id", "") + get("lesson_id", "")
    if further_ids:
        ids += "".join(get(name, "") for name in further_ids)
    if ids != ids.lower():
        changes |= {name: fields[name].lower() for name in _IDS if name in fields}
    if fields.get("ip_address") != event.ip_address:
        changes["ip_address"] = event.ip_address
    if "schema_version" not in fields:
        changes["schema_version"] = event.schema_version
    if not fields.get("details", True):
        changes["details"] = {}  # left out where the whole is written
    return changes


def _moment(written: str, moment: datetime) -> str:
    """`spelt(moment)`; of a time that is written in UTC most is there already, at a third of the cost."""
    if written.endswith(_UTC) and written[17] != "6" and written[10] == "T":
        return f"{written[:19]}.{moment.microsecond // 1000:03d}Z"
    return spelt(moment)


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored event as the fields of its record; those that are absent are None."""
    data, personal, metadata = document["event_data"], document["personal"], document["metadata"]
    event_type = document["event_type"]
    details = with_times_respelt(event_type, data.get("details", {}))
    return {
        "event_id": str(document["_id"]),
        "event_type": event_type,
        "occurred_at": spelt(document["occurred_at"].astimezone(UTC)),
        **{name: str(data[name]) for name in _IDS[1:] if data.get(name) is not None},
        "producer": metadata["producer"],
        "session_id": data.get("session_id"),
        "correlation_id": metadata["correlation_id"],
        "device_type": data.get("device_type"),
        "user_agent": personal.get("user_agent"),
        "ip_address": personal.get("ip_address"),
        "value": data.get("value"),
        "details": put_personal(event_type, details, personal) or None,
        "schema_version": document["schema_version"],
    }


def _is_json(value: Any) -> bool:
    """Whether the value is what JSON can hold: other kinds of the store must not pass for their texts."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif not isinstance(item, _SCALARS):
            return False
    return True
