"""Compares a ledger with what stands in MongoDB. Sentences say what is wrong; none means that all is right."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from tests.oracle.ledger import Entry
from tests.oracle.progress import expected_numbers, shown_numbers

Document = dict[str, Any]

# A rule that is broken a thousand times is told this many times, and then how often.
_TOLD = 20
_OPTIONS: CodecOptions[Document] = CodecOptions(
    document_class=dict, tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything the worker stored, read once; `streams` are the events by stream, in version order."""

    events: Sequence[Document]
    rows: Sequence[Document]
    progress: Sequence[Document]
    letters: Sequence[Document]

    @property
    def streams(self) -> Mapping[str, Sequence[Document]]:
        streams: dict[str, list[Document]] = defaultdict(list)
        for event in sorted(self.events, key=lambda event: int(event["version"])):
            streams[event["stream_id"]].append(event)
        return streams

    @property
    def real_events(self) -> Sequence[Document]:
        """Events of producers: all but the voids."""
        return [event for event in self.events if event["event_type"] != "void"]


Rule = Callable[[Stored, Sequence[Entry]], Iterator[str]]


def check(mongodb_uri: str, prefix: str, ledger: Sequence[Entry], *, in_order: bool = False) -> list[str]:
    """What is wrong in the databases of `prefix`, once everything in the ledger was drained; empty if nothing.

    `in_order` says that every stream's records went to one partition in the ledger's order: then its versions must
    follow that order, too.
    """
    stored = _read(mongodb_uri, prefix)
    rules: list[Rule] = [_events, _bodies, _versions, _rows, _row_contents, _progress, _dead_letters]
    if in_order:
        rules.append(_order)
    return [violation for rule in rules for violation in _bounded(rule(stored, ledger))]


def _read(mongodb_uri: str, prefix: str) -> Stored:
    with MongoClient[Document](mongodb_uri) as client:
        content = client.get_database(f"{prefix}_content", _OPTIONS)
        analytics = client.get_database(f"{prefix}_analytics", _OPTIONS)
        return Stored(
            events=list(content["course_events"].find()),
            rows=list(analytics["user_interactions"].find()),
            progress=list(content["user_progress"].find()),
            letters=list(analytics["dead_letters"].find()),
        )


def _bounded(violations: Iterable[str]) -> Iterator[str]:
    told = 0
    for told, violation in enumerate(violations, start=1):
        if told <= _TOLD:
            yield violation
    if told > _TOLD:
        yield f"... and {told - _TOLD} more of the last kind"


def _events(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """The event store holds the ledger's ok entries, each exactly once."""
    wanted = Counter(entry.event_id for entry in ledger if entry.kind == "ok")
    yield from _differences("event", wanted, Counter(event["_id"] for event in stored.real_events))


def _bodies(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Each event says what its producer's bytes say."""
    entries = {entry.event_id: entry for entry in ledger if entry.kind == "ok"}
    for event in stored.real_events:
        entry = entries.get(event["_id"])
        if entry is not None:
            if entry.stream_id != event["stream_id"]:
                yield f"event {event['_id']} is in stream {event['stream_id']}, not {entry.stream_id}"
            if _said(json.loads(entry.value)) != _stored_body(event):
                yield f"event {event['_id']} does not say what its producer said"


def _versions(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Versions of every stream are 1 to n."""
    for stream, events in stored.streams.items():
        versions = [event["version"] for event in events]
        if versions != list(range(1, len(versions) + 1)):
            yield f"versions of {stream} are not 1 to {len(versions)}: {_shortened(versions)}"


def _order(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Versions follow the order of the ledger."""
    position = {entry.event_id: number for number, entry in enumerate(ledger) if entry.kind == "ok"}
    for stream, events in stored.streams.items():
        places = [position[event["_id"]] for event in events if event["_id"] in position]
        if places != sorted(places):
            yield f"versions of {stream} do not follow the order of publishing"


def _rows(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """The time series holds one row for every event of a producer, and no other."""
    wanted = Counter(event["_id"] for event in stored.real_events)
    yield from _differences("row", wanted, Counter(row.get("_id") for row in stored.rows))


def _row_contents(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Each row says what its event says."""
    events = {event["_id"]: event for event in stored.real_events}
    for row in stored.rows:
        event = events.get(row.get("_id"))
        if event is not None and _row_body(row) != _expected_row(event):
            yield f"row {row['_id']} does not say what its event says"


def _progress(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Every stream has one document, at its last version, with the numbers that follow from its events."""
    streams = stored.streams
    documents = [document["stream_id"] for document in stored.progress]
    yield from _differences("progress document", Counter(streams.keys()), Counter(documents))
    for document in stored.progress:
        stream = document["stream_id"]
        events = streams.get(stream, ())
        if document["version"] != len(events):
            yield f"progress of {stream} is at version {document['version']} of {len(events)}"
        elif expected_numbers(events) != shown_numbers(document):
            yield f"progress of {stream} shows {shown_numbers(document)}, not {expected_numbers(events)}"


def _dead_letters(stored: Stored, ledger: Sequence[Entry]) -> Iterator[str]:
    """Dead letters are the ledger's conflicts and poison, each exactly once, byte for byte, and nothing else."""
    parts: dict[str, list[Document]] = defaultdict(list)
    for letter in stored.letters:
        if letter["kind"] == "part":
            parts[letter["part_of"]].append(letter)
        elif letter["kind"] != "record":
            yield f"dead letter {letter['_id']} is a {letter['kind']}: records were never read"
    records = [letter for letter in stored.letters if letter["kind"] == "record"]
    for kind, conflicts in (("conflict", True), ("poison", False)):
        wanted = Counter(entry.value for entry in ledger if entry.kind == kind)
        kept = Counter(
            _bytes_of(letter, parts[letter["_id"]])
            for letter in records
            if (letter["reason"] == "conflict") == conflicts
        )
        yield from _differences(f"dead letter ({kind})", wanted, kept)


def _bytes_of(letter: Document, parts: Sequence[Document]) -> bytes | None:
    if letter["parts"]:
        return b"".join(part["value"] for part in sorted(parts, key=lambda part: int(part["part"])))
    value: bytes | None = letter["value"]
    return value


def _differences(what: str, wanted: Counter[Any], found: Counter[Any]) -> Iterator[str]:
    for key in wanted.keys() | found.keys():
        if found[key] < wanted[key]:
            yield f"{what} {_shortened(key)} is missing: {found[key]} of {wanted[key]}"
        elif found[key] > wanted[key]:
            excess = "unexpected" if wanted[key] == 0 else "there too often"
            yield f"{what} {_shortened(key)} is {excess}: {found[key]} of {wanted[key]}"


def _said(fields: Mapping[str, Any]) -> Mapping[str, Hashable]:
    """A producer's JSON in the words of `_stored_body`."""
    moment = datetime.fromisoformat(fields["occurred_at"]).astimezone(UTC)
    return {
        "event_id": UUID(fields["event_id"]),
        "event_type": fields["event_type"],
        "occurred_at": moment.replace(microsecond=moment.microsecond // 1000 * 1000),
        "user_id": ObjectId(fields["user_id"]),
        "course_id": ObjectId(fields["course_id"]),
        "lesson_id": ObjectId(fields["lesson_id"]) if "lesson_id" in fields else None,
        "session_id": fields.get("session_id"),
        "value": fields.get("value"),
        "details": _canonical(fields.get("details", {})),
    }


def _stored_body(event: Document) -> Mapping[str, Hashable]:
    data, text = event["event_data"], event["personal"].get("text")
    details = data.get("details", {}) if text is None else {**data.get("details", {}), "text": text}
    return {
        "event_id": event["_id"],
        "event_type": event["event_type"],
        "occurred_at": event["occurred_at"],
        "user_id": data["user_id"],
        "course_id": data["course_id"],
        "lesson_id": data.get("lesson_id"),
        "session_id": data.get("session_id"),
        "value": data.get("value"),
        "details": _canonical(details),
    }


def _expected_row(event: Document) -> Mapping[str, Hashable]:
    data = event["event_data"]
    names = ("user_id", "course_id", "lesson_id", "session_id", "device_type")
    return {
        **{name: data.get(name) for name in names},
        "interaction_type": event["event_type"],
        "user_agent": event["personal"].get("user_agent"),
        "ip_address": event["personal"].get("ip_address"),
        "timestamp": event["occurred_at"],
        "value": data.get("value"),
        "details": _canonical(data.get("details", {})),
    }


def _row_body(row: Document) -> Mapping[str, Hashable]:
    names = ("user_id", "course_id", "lesson_id", "session_id", "device_type")
    personal = ("interaction_type", "user_agent", "ip_address")
    return {
        **{name: row["metadata"].get(name) for name in (*names, *personal)},
        "timestamp": row["timestamp"],
        "value": row.get("value"),
        "details": _canonical(row.get("details", {})),
    }


def _canonical(details: Mapping[str, Any]) -> str:
    return json.dumps(details, sort_keys=True, default=str)


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
