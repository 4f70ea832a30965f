"""What cannot be stored, kept with its exact bytes and the reason; nothing here ever expires by itself."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from pymongo.errors import BulkWriteError

from worker import __version__
from worker.errors import WorkerError
from worker.ingest.positions import Gap
from worker.ingest.record import Letter, Record
from worker.storage.database import Database, Document
from worker.storage.errors import translated, write_failures

STEP = "ingest"
# A document holds at most 16 MB; one bulk message at most 48 MB. Longer values are kept in parts.
PART_BYTES = 8_000_000
# Bytes per insert: a flood of large poison must not fill the memory twice.
_INSERT_BYTES = 16_000_000


async def keep(database: Database, letters: Sequence[Letter], now: datetime) -> None:
    """Store dead letters. Keyed by position and payload hash, so that keeping them twice keeps them once.

    Raises Retryable when MongoDB gives no answer: the offset then stays where it is.
    """
    documents = (document for letter in letters for document in letter_documents(letter, now))
    for chunk in _chunks(documents):
        await _insert(database, chunk)


async def keep_gaps(database: Database, gaps: Sequence[Gap], now: datetime) -> None:
    """Store gap records: offsets that were passed over unread. Keyed by their range."""
    if gaps:
        await _insert(database, [gap_document(gap, now) for gap in gaps])


async def _insert(database: Database, documents: Sequence[Document]) -> None:
    try:
        with translated():
            await database.dead_letters.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        others = [failure for failure in write_failures(error) if not failure.duplicate]
        if others:
            raise WorkerError(f"dead letters were refused: {others[0].message}") from error


def _chunks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    size = 0
    for document in documents:
        length = len(document.get("value") or b"") + 1_000
        if chunk and size + length > _INSERT_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(document)
        size += length
    if chunk:
        yield chunk


def letter_documents(letter: Letter, now: datetime) -> Iterator[Document]:
    """The dead letter of a record, and the parts of a value over PART_BYTES (then its own `value` is null)."""
    record, rejected = letter.record, letter.rejected
    value = record.value or b""
    digest = hashlib.sha256(value).digest()
    source = record.source
    key = f"{source.topic}:{source.partition}:{source.offset}:{digest.hex()[:16]}"
    whole = len(value) <= PART_BYTES
    parts = [] if whole else [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)]
    yield {
        "_id": key,
        "kind": "record",
        "step": STEP,
        "reason": rejected.reason.value,
        "error_class": rejected.reason.value,
        "field": rejected.field,
        "message": rejected.message,
        **_position(record),
        "event_id": letter.event_id,
        "key": record.key,
        "headers": [{"key": name, "value": content} for name, content in record.headers],
        "value": record.value if whole else None,
        "parts": len(parts),
        "size_bytes": len(value),
        "payload_sha256": digest,
        "fingerprint": failure_fingerprint(STEP, rejected.reason.value, rejected.field),
        "kafka_timestamp": record.timestamp,
        "attempts": 1,
        "redrives": 0,
        "code_version": __version__,
        "created_at": now,
        "gap": None,
    }
    for number, part in enumerate(parts, start=1):
        yield {
            "_id": f"{key}#{number}",
            "kind": "part",
            "part_of": key,
            "part": number,
            "value": part,
            "created_at": now,
        }


def gap_document(gap: Gap, now: datetime) -> Document:
    """A dead letter without bytes: which offsets were never read, and why."""
    span = f"{gap.first_offset}-{gap.last_offset}"
    return {
        "_id": f"{gap.partition.topic}:{gap.partition.number}:{span}:{gap.reason}",
        "kind": "gap",
        "step": STEP,
        "reason": gap.reason.value,
        "error_class": gap.reason.value,
        "field": None,
        "message": gap.message,
        "topic": gap.partition.topic,
        "partition": gap.partition.number,
        "offset": gap.first_offset,
        "event_id": None,
        "key": None,
        "headers": [],
        "value": None,
        "parts": 0,
        "size_bytes": 0,
        "payload_sha256": b"",
        "fingerprint": failure_fingerprint(STEP, gap.reason.value, None),
        "kafka_timestamp": None,
        "attempts": 1,
        "redrives": 0,
        "code_version": __version__,
        "created_at": now,
        "gap": {"first_offset": gap.first_offset, "last_offset": gap.last_offset},
    }


def failure_fingerprint(step: str, reason: str, field: str | None) -> str:
    """One value per kind of failure, so that a thousand letters of one bug are one line for an operator."""
    return hashlib.sha256(f"{step}|{reason}|{field or ''}".encode()).hexdigest()[:16]


def _position(record: Record) -> Document:
    source = record.source
    return {"topic": source.topic, "partition": source.partition, "offset": source.offset}
