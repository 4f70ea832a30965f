"""Keeps what cannot be stored as dead letters, with exact bytes and reason; none of them expires by itself."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from worker import __version__
from worker.chunks import chunks_within
from worker.contract.identity import failure_fingerprint
from worker.contract.trace_context import TraceContext, trace_of
from worker.errors import Refused, Retryable
from worker.ingest.record import DeadLetter
from worker.kafka.positions import Gap
from worker.kafka.record import Partition, Record
from worker.storage.database import Database, Document
from worker.storage.encoding import encoded
from worker.storage.errors import translated, write_failures
from worker.storage.record_headers import encode_headers

log = structlog.get_logger(__name__)

STEP = "ingest"
# A document holds at most 16 MB; one bulk message at most 48 MB. Longer values are kept in parts.
PART_BYTES = 8_000_000
# Keys and headers have no use but to be sent again: longer ones would only make lists of dead letters slow.
KEY_BYTES = 64 * 1024
HEADERS_BYTES = 64 * 1024
_MOST_HEADERS = 1_000
# In a line of the log; there are some twenty reasons, and partitions without end.
_SHOWN_GROUPS = 20
# Bytes per insert: a flood of large poison must not fill the memory twice.
_INSERT_BYTES = 16_000_000
# What the server takes, less what the command itself needs.
_DOCUMENT_BYTES = 16 * 1024 * 1024 - 16 * 1024


async def store_dead_letters(database: Database, dead_letters: Sequence[DeadLetter], now: datetime) -> None:
    """Store dead letters. Keyed by position and payload hash, so that keeping them twice keeps them once.

    What the store refuses, for whatever reason, is kept without its bytes: position, hashes, sizes, reason.
    Raises Retryable when MongoDB gives no answer, or refuses even that: the offset then stays where it is.
    """
    without_bytes: dict[int, str] = {}
    for chunk in chunks_within(_entries(dead_letters, now), _INSERT_BYTES, lambda entry: entry.size_bytes):
        refused = await _insert(database, chunk)
        for index in refused:
            await _store_minimal(database, dead_letters[index], now)
        without_bytes |= refused
    tell(dead_letters, without_bytes)


def tell(dead_letters: Sequence[DeadLetter], without_bytes: Mapping[int, str]) -> None:
    """Log what was kept, in one line for all of a batch; a second one for those whose bytes the store refused."""
    if dead_letters:
        reasons = ((each.rejected.reason.value, each) for each in dead_letters)
        log.warning("records_dead_lettered", records=len(dead_letters), groups=_groups(reasons))
    if without_bytes:
        refusals = [(why, dead_letters[index]) for index, why in without_bytes.items()]
        log.error("dead_letters_without_bytes", records=len(refusals), groups=_groups(refusals))


def _groups(reasons: Iterable[tuple[str, DeadLetter]]) -> list[dict[str, Any]]:
    """Of each reason and partition how many there are, and which is the first; the largest groups, if very many."""
    groups: dict[tuple[str, Partition], list[Record]] = {}
    for reason, each in reasons:
        groups.setdefault((reason, each.record.partition), []).append(each.record)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))[:_SHOWN_GROUPS]
    return [
        {
            "reason": reason,
            "records": len(records),
            "topic": partition.topic,
            "partition": partition.number,
            "first_offset": first.source.offset,
            **({} if (trace := _trace_of(first)) is None else {"trace_id": trace.trace_id}),
        }
        for (reason, partition), records in largest
        for first in [min(records, key=lambda record: record.source)]
    ]


def _trace_of(record: Record) -> TraceContext | None:
    headers = record.headers
    return trace_of(headers) if headers and isinstance(headers, tuple) else None


async def store_gaps(database: Database, gaps: Sequence[Gap], now: datetime) -> None:
    """Store gap records: offsets that were skipped unread. Keyed by their range."""
    for gap in gaps:
        document = gap_document(gap, now)
        refused = await _insert(database, [_Entry(0, encoded(document))])
        if refused:
            raise Retryable(f"the store refuses the record of a gap: {refused[0]}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A document of the dead letter at this index; None where BSON or the server has no room for it."""

    index: int
    document: RawBSONDocument | None

    @property
    def size_bytes(self) -> int:
        return len(self.document.raw) if self.document is not None else 0


async def _insert(database: Database, entries: Sequence[_Entry]) -> dict[int, str]:
    """Insert what can be inserted; says which dead letters have a document that cannot, and why."""
    refused = {entry.index: "no BSON document" for entry in entries if entry.document is None}
    sent = [entry for entry in entries if entry.document is not None]
    if not sent:
        return refused
    try:
        with translated():
            await database.dead_letters.insert_many([entry.document for entry in sent], ordered=False)  # type: ignore[misc]
    except BulkWriteError as error:
        refused |= {
            sent[failure.index].index: f"code {failure.code}"
            for failure in write_failures(error)
            if not failure.duplicate
        }
    except Refused as error:
        if len(sent) == 1:
            return refused | {sent[0].index: str(error)}
        for entry in sent:  # which of them it was
            refused |= await _insert(database, [entry])
    return refused


async def _store_minimal(database: Database, dead_letter: DeadLetter, now: datetime) -> None:
    """Keep what finds the record in Kafka. Keyed like the dead letter, in whose place it stands."""
    document = minimal_dead_letter(dead_letter, now)
    try:
        with translated():
            await database.dead_letters.replace_one({"_id": document["_id"]}, document, upsert=True)
    except Refused as error:
        raise Retryable(f"the store refuses even a dead letter without bytes: {error}") from error


def _entries(dead_letters: Sequence[DeadLetter], now: datetime) -> Iterator[_Entry]:
    for index, dead_letter in enumerate(dead_letters):
        for document in dead_letter_documents(dead_letter, now):
            blob = encoded(document)
            yield _Entry(index, blob if blob is not None and len(blob.raw) <= _DOCUMENT_BYTES else None)


def dead_letter_documents(dead_letter: DeadLetter, now: datetime) -> Iterator[Document]:
    """The dead letter of a record, and the parts of what is too long for it.

    A value over PART_BYTES, a key over KEY_BYTES, headers over HEADERS_BYTES (or very many, or whose names are no
    text) lie in parts; the dead letter has null, or no headers, in their place, and their sizes and hashes.
    """
    record = dead_letter.record
    document = _document(dead_letter, now)
    value = record.value or b""
    parts = {"value": _cut(value) if len(value) > PART_BYTES else []}
    document |= {"value": None if parts["value"] else record.value, "parts": len(parts["value"])}
    if record.key is not None and len(record.key) > KEY_BYTES:
        parts["key"] = _cut(record.key)
        document |= {"key": None, "key_parts": len(parts["key"]), **_measured("key", record.key)}
    else:
        document["key"] = record.key
    headers = _long_headers(record)
    if headers is not None:
        parts["headers"] = _cut(headers)
        document |= {"headers_parts": len(parts["headers"]), **_measured("headers", headers)}
    elif isinstance(record.headers, tuple):
        document["headers"] = [{"key": name, "value": content} for name, content in record.headers]
    yield document
    for of, cut in parts.items():
        for number, part in enumerate(cut, start=1):
            yield _part(document["_id"], of, number, part, now)


def minimal_dead_letter(dead_letter: DeadLetter, now: datetime) -> Document:
    """The dead letter of a record without any of its bytes, which are told by their sizes and hashes alone."""
    record = dead_letter.record
    document = _document(dead_letter, now)
    document["message"] = f"{document['message']} (the store refused the bytes: see the record in Kafka)"
    if record.key is not None:
        document |= _measured("key", record.key)
    if record.headers:
        headers = record.headers
        document |= _measured("headers", headers if isinstance(headers, bytes) else encode_headers(headers))
    return {**document, "without_bytes": True}


def _document(dead_letter: DeadLetter, now: datetime) -> Document:
    """A dead letter as yet without key, headers and value."""
    record, rejected = dead_letter.record, dead_letter.rejected
    source = record.source
    # What tells a record's events apart: nothing for the first, which is nearly always the only one.
    place = f":{source.place}" if source.place else ""
    digest = hashlib.sha256(record.value or b"").digest()
    return {
        "_id": f"{source.topic}:{source.partition}:{source.offset}:{digest.hex()[:16]}{place}",
        **_fields("record", rejected.reason.value, rejected.message, now, rejected.field),
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "event_id": dead_letter.event_id,
        "size_bytes": len(record.value or b""),
        "payload_sha256": digest,
        "kafka_timestamp": record.timestamp,
    }


def _fields(kind: str, reason: str, message: str, now: datetime, field: str | None = None) -> Document:
    """All fields of a dead letter but its id, in their order; those about a record as of one without anything."""
    return {
        "kind": kind,
        "step": STEP,
        "reason": reason,
        "error_class": reason,
        "field": field,
        "message": message,
        **dict.fromkeys(("topic", "partition", "offset", "event_id", "key")),
        "headers": [],
        "value": None,
        "parts": 0,
        "size_bytes": 0,
        "payload_sha256": b"",
        "fingerprint": failure_fingerprint(STEP, reason, field),
        "kafka_timestamp": None,
        "attempts": 1,
        "redrives": 0,
        "code_version": __version__,
        "created_at": now,
        "gap": None,
    }


def _long_headers(record: Record) -> bytes | None:
    """The headers in their encoding where a document is no place for them."""
    headers = record.headers
    if isinstance(headers, bytes):
        return headers
    size = sum(len(name) + len(content or b"") for name, content in headers)
    return encode_headers(headers) if len(headers) > _MOST_HEADERS or size > HEADERS_BYTES else None


def _measured(of: str, content: bytes) -> Document:
    return {f"{of}_size_bytes": len(content), f"{of}_sha256": hashlib.sha256(content).digest()}


def _cut(content: bytes) -> list[bytes]:
    return [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]


def _part(part_of: str, of: str, number: int, content: bytes, now: datetime) -> Document:
    """A part of the value is `<id>#<number>`, of the key `<id>#key<number>`, and so on."""
    document = {
        "_id": f"{part_of}#{'' if of == 'value' else of}{number}",
        "kind": "part",
        "part_of": part_of,
        "part": number,
        "value": content,
        "created_at": now,
    }
    return document if of == "value" else {**document, "of": of}


def gap_document(gap: Gap, now: datetime) -> Document:
    """A dead letter without bytes: which offsets were never read, and why."""
    span = f"{gap.first_offset}-{gap.last_offset}"
    return {
        "_id": f"{gap.partition.topic}:{gap.partition.number}:{span}:{gap.reason}",
        **_fields("gap", gap.reason.value, gap.message, now),
        "topic": gap.partition.topic,
        "partition": gap.partition.number,
        "offset": gap.first_offset,
        "gap": {"first_offset": gap.first_offset, "last_offset": gap.last_offset},
    }
