"""Step 4: insert new events under their versions, and fill at once what a failed insert left open."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from projections.event import upcast_document
from worker.chunks import chunks
from worker.contract.fingerprint import of_document
from worker.contract.origin import origin_of
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source, source_of
from worker.contract.trace_context import trace_of
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION
from worker.ingest.enrich.stamps import Stamps
from worker.ingest.plan import Known, assign_versions, holes, unlike
from worker.ingest.record import Appended, Candidate, DeadLetter, Stored
from worker.ingest.versions import StreamVersions
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.documents import event_document, void_document
from worker.storage.encoding import encoded
from worker.storage.errors import WriteFailure, translated, write_failures

# A query of 5,000 ids takes about 30 ms; larger ones only delay each other.
_IDS_PER_QUERY = 5_000
_DOCUMENTS_PER_QUERY = 2_000

_REFUSED = Rejected(RejectReason.REFUSED_BY_STORE, "the event store refused the document for its content")

_OUR_KEYS = ({"_id"}, {"stream_id", "version"})


class EventStore:
    """The ingest side of `course_events`. Its unique keys, `_id` and (stream_id, version), decide every race."""

    def __init__(self, database: Database, versions: StreamVersions, origin: str | None = None) -> None:
        """`origin` is the job on whose behalf events are stored, None where they are stored as they happen."""
        self._events = database.course_events
        self._versions = versions
        self._origin = origin

    async def known(self, candidates: Sequence[Candidate]) -> dict[UUID, Known]:
        """What is stored under the candidates' ids, read at majority: an id that is missing was never acknowledged.

        Where a fingerprint differs it is taken of the stored event, as this version of the contract reads it.
        """
        ids = [candidate.event.event_id for candidate in candidates]
        fields = {"metadata.fingerprint": 1, "metadata.source": 1}
        rows = await self._find(ids, _IDS_PER_QUERY, fields)
        found: dict[UUID, Known] = {row["_id"]: _known(row["metadata"]) for row in rows}
        for some in chunks(unlike(candidates, found), _DOCUMENTS_PER_QUERY):
            # One may be of an older form, or of an older `schema_version`. What nobody can read stays as it was.
            async for read in reading.batches(self._events, {"_id": {"$in": some}}):
                found.update(read.through(_known_by_content).values)
        return found

    async def documents(self, ids: Sequence[UUID]) -> dict[UUID, Document]:
        """The stored documents under these ids."""
        return {row["_id"]: row for row in await self._find(ids, _DOCUMENTS_PER_QUERY)}

    async def _find(
        self, ids: Sequence[UUID], per_query: int, fields: Mapping[str, int] | None = None
    ) -> list[Document]:
        rows: list[Document] = []
        for some in chunks(ids, per_query):
            with translated():
                rows += await self._events.find({"_id": {"$in": some}}, fields).to_list(None)
        return rows

    async def append(
        self, candidates: Sequence[Candidate], stamps: Stamps, recorded_at: datetime
    ) -> Appended:
        """Insert new events, each under the next version of its stream. May run twice: `_id` decides.

        1. versions  2. documents, each encoded by itself  3. insert, unordered  4. fill holes
        An event that was inserted although no answer came returns in `lost_race` after a repeat, and is then found
        stored under its own source. Raises Retryable when MongoDB gives no answer.
        """
        # 1.
        streams = [candidate.event.stream_id for candidate in candidates]
        versions = assign_versions(streams, await self._versions.highest(streams))
        planned = list(zip(streams, versions, strict=True))
        # 2.
        documents = [
            _document(candidate, version, stamps, recorded_at, self._origin)
            for candidate, version in zip(candidates, versions, strict=True)
        ]
        # 3.
        failed = await self._insert([encoded(document) for document in documents])
        taken = {index: each for index, each in failed.items() if each is not None and _met_another(each)}
        stored = [index for index in range(len(candidates)) if index not in failed]
        # 4.
        free = failed.keys() - {index for index, each in taken.items() if "version" in each.key_pattern}
        filled = await self._fill(holes(planned, free, taken.keys() | stored), recorded_at)
        for index in stored:
            self._versions.reached(*planned[index])
        self._versions.forget(streams[index] for index in failed)
        return Appended(
            stored=[Stored(candidates[index].record, documents[index]) for index in stored],
            lost_race=[candidates[index] for index in sorted(taken)],
            refused=[_refused(candidates[index]) for index in sorted(failed.keys() - taken.keys())],
            holes_filled=filled,
        )

    async def _insert(self, blobs: Sequence[RawBSONDocument | None]) -> dict[int, WriteFailure | None]:
        """Insert what BSON can hold. Returns what failed by index; None stands for a document without BSON."""
        failed: dict[int, WriteFailure | None] = {i: None for i, blob in enumerate(blobs) if blob is None}
        places = [index for index in range(len(blobs)) if index not in failed]
        if places:
            try:
                with translated():
                    await self._events.insert_many([blobs[i] for i in places], ordered=False)  # type: ignore[misc]
            except BulkWriteError as error:
                failed.update({places[failure.index]: failure for failure in write_failures(error)})
        return failed

    async def _fill(self, open_versions: Sequence[tuple[str, int]], recorded_at: datetime) -> int:
        """Put a void into each hole; the unique index decides between a void and an insert in flight."""
        if not open_versions:
            return 0
        voids = [void_document(stream, version, recorded_at) for stream, version in open_versions]
        try:
            with translated():
                await self._events.insert_many(voids, ordered=False)
        except BulkWriteError as error:
            return len(voids) - len(write_failures(error))
        return len(voids)


def _document(
    candidate: Candidate, version: int, stamps: Stamps, recorded_at: datetime, origin: str | None
) -> Document:
    """The document of a new event. The job that first published its record goes before one that reads it again."""
    event, headers = candidate.event, candidate.record.headers
    brought_by = trace = None
    if headers and isinstance(headers, tuple):  # most records have none
        brought_by, trace = origin_of(headers), trace_of(headers)
    return event_document(
        event,
        version,
        candidate.record.source,
        recorded_at,
        stamps.curriculum(event, version),
        origin=brought_by or origin,
        trace=trace,
        time_zone=stamps.time_zone(event),
    )


def _known(metadata: Mapping[str, Any]) -> Known:
    source = metadata["source"]
    return Known(bytes(metadata["fingerprint"]), source_of(source) if source else Source("", -1, -1))


def _known_by_content(row: Document) -> tuple[UUID, Known]:
    """What cannot be taken of the document (a sealed one, say) stays as it is stored."""
    known = _known(row["metadata"])
    is_old = row["schema_version"] < CURRENT_SCHEMA_VERSION
    fingerprint = of_document(upcast_document(row) if is_old else row)
    return row["_id"], known._replace(fingerprint=fingerprint or known.fingerprint)


def _met_another(failure: WriteFailure) -> bool:
    """True for a key of ours, id or version. Of a unique index that somebody else has made nothing would change."""
    return failure.duplicate and (not failure.key_pattern or failure.key_pattern.keys() in _OUR_KEYS)


def _refused(candidate: Candidate) -> DeadLetter:
    return DeadLetter(candidate.record, _REFUSED, candidate.event.event_id)
