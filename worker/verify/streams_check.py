"""Holds event store, time series and progress documents against each other, stream by stream."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from projections.progress import PROJECTION_VERSION
from projections.progress.document import ProgressDocument
from worker.contract.identity import stream_id, stream_object_id, stream_slot
from worker.storage.database import Database, Document
from worker.storage.reading import name_of
from worker.verify import reading
from worker.verify.findings import Finding, FindingKind, Tally, subject_of
from worker.verify.leases_check import live_version
from worker.verify.queue_check import excused_streams
from worker.verify.shapes import misfits_of, told
from worker.verify.sources import Sources
from worker.verify.stream_audit import Fault, StreamAudit

# Owners of rows that are looked up together.
_OWNERS_AT_ONCE = 1_000


@dataclass(slots=True)
class StreamsCheck:
    """One run: what it reads, what it excuses, what it found.

    Missing rows and holes below an event recorded since `young_since` may be about to be completed; a document that
    waits for an event from before `overdue_before` is not about to be folded. Nothing was recorded after `latest`.
    """

    database: Database
    settled: bool
    young_since: datetime
    overdue_before: datetime
    latest: datetime
    sources: Sources
    on_progress: Callable[[int], None]
    tally: Tally = field(default_factory=Tally)

    async def streams(self) -> None:
        """Walk the event store once. The last stream of a page may go on in the next one and stays open."""
        opened: StreamAudit | None = None
        suspects: set[str] = set()
        async for page in reading.event_pages(self.database):
            self.tally.unreadable(page.unreadable)
            groups = [
                (stream, list(events)) for stream, events in groupby(self._placed(page.documents), _stream)
            ]
            records = await reading.records_of(self.database, (stream for stream, _ in groups))
            closed = []
            for stream, events in groups:
                if opened is None or opened.stream != stream:
                    closed += [opened] if opened else []
                    opened = StreamAudit(stream, records.get(stream), self.latest, self.sources)
                opened.feed(events)
                suspects |= {stream} if opened.take_faults() else set()
                self.tally.report(opened.take_repeated())
            await self._close(closed, suspects)
        await self._close([opened] if opened else [], suspects)

    def _placed(self, events: Iterable[Document]) -> list[Document]:
        """Those that say where they belong; the others are reported."""
        placed = []
        for event in events:
            version = event.get("version")
            if isinstance(event.get("stream_id"), str) and isinstance(version, int):
                placed.append(event)
            else:
                subject = subject_of("course_events", event)
                detail = "an event without stream or version"
                self.tally.report([Finding(FindingKind.DOCUMENT_MALFORMED, subject, detail)])
        return placed

    async def _close(self, audits: Sequence[StreamAudit], suspects: set[str]) -> None:
        """Judge streams whose events are all read; `suspects` loses those among them."""
        by_owner = {reading.owner_of(audit.stream): audit for audit in audits}
        async for page in reading.rows_of(self.database, (owner for owner in by_owner if owner)):
            self.tally.unreadable(page.unreadable)
            for row in page.documents:
                audit = by_owner.get(reading.row_owner(row))
                if audit is not None:
                    with self.tally.guard("user_interactions", row):
                        audit.meet(row)
        self.tally.unreadable(
            audit.record.unreadable for audit in audits if audit.record and audit.record.unreadable
        )
        for audit in audits:
            audit.close()
            if audit.stream in suspects or audit.take_faults() or audit.extra_rows or audit.lacks_rows:
                suspects.discard(audit.stream)
                await self._look_again(audit.stream)
        await self._count(audits)

    async def _look_again(self, stream: str) -> None:
        """Read one stream anew: its document before its events, the events before the rows.

        So the document cannot be ahead of the events, and a row without event may belong to one stored since.
        """
        records = await reading.records_of(self.database, [stream])
        audit = StreamAudit(stream, records.get(stream), self.latest)
        async for page in reading.stream_pages(self.database, stream):
            audit.feed([event for event in page.documents if isinstance(event.get("version"), int)])
            self._judge(audit.take_faults())
        audit.close()
        owner = reading.owner_of(stream)
        async for page in reading.rows_of(self.database, [owner] if owner else []):
            self.tally.unreadable(page.unreadable)
            for row in page.documents:
                if reading.row_owner(row) == owner:
                    with self.tally.guard("user_interactions", row):
                        audit.meet(row)
        self._judge(audit.take_faults())
        self._judge(audit.missing_rows())
        await self._judge_extra(audit)

    async def _judge_extra(self, audit: StreamAudit) -> None:
        if not audit.extra_rows:
            return
        known = await reading.events_in_stream(self.database, audit.stream, audit.extra_rows)
        self.tally.report(
            Finding(FindingKind.ROW_EXTRA, audit.stream, f"row {name_of(row_id)} has no event in this stream")
            for row_id in audit.extra_rows
            if not (isinstance(row_id, UUID) and row_id in known)
        )

    def _judge(self, faults: Iterable[Fault]) -> None:
        """Report, or excuse what a worker may be about to complete."""
        for fault in faults:
            excused = fault.recorded_at is not None and fault.recorded_at >= self.young_since
            if excused and not self.settled:
                self.tally.counts["in_flight"] += 1
            else:
                self.tally.report([fault.finding])

    async def _count(self, audits: Sequence[StreamAudit]) -> None:
        counts = self.tally.counts
        counts["streams"] += len(audits)
        counts["events"] += sum(audit.events for audit in audits)
        counts["voids"] += sum(audit.voids for audit in audits)
        late = [audit for audit in audits if audit.behind]
        aside = await excused_streams(self.database, [audit.stream for audit in late])
        counts["behind"] += len(late)
        counts["set_aside"] += len(aside)
        await self._judge_late([audit for audit in late if audit.stream not in aside])
        self.on_progress(counts["events"])

    async def _judge_late(self, late: Sequence[StreamAudit]) -> None:
        """Report documents that wait; on a live system those that wait for an old event, and still do."""
        if not self.settled:
            late = [audit for audit in late if audit.overdue(self.overdue_before)]
        now = await reading.records_of(self.database, (audit.stream for audit in late))
        self.tally.report(
            _lateness(audit) for audit in late if self.settled or now.get(audit.stream) == audit.record
        )

    async def rows_without_stream(self) -> None:
        """Rows of learners and courses that have no events."""
        async for owners in self._row_owners():
            streams = [stream_id(course, user) for user, course in owners]
            known = await reading.streams_with_events(self.database, streams)
            for stream in set(streams) - known:
                await self._look_again(stream)

    async def _row_owners(self) -> AsyncIterator[set[reading.Owner]]:
        """Chunks of different owners; one may come again in a later chunk."""
        chunk: set[reading.Owner] = set()
        async for page in reading.row_pages(self.database):
            self.tally.counts["time_series_rows"] += len(page.documents) + len(page.unreadable)
            for row in page.documents:
                owner = reading.row_owner(row)
                if owner is None:
                    detail = f"row {name_of(row.get('_id'))} names no learner and course"
                    self.tally.report([Finding(FindingKind.ROW_EXTRA, "user_interactions", detail)])
                else:
                    chunk.add(owner)
            if len(chunk) >= _OWNERS_AT_ONCE:
                yield chunk
                chunk = set()
        if chunk:
            yield chunk

    async def documents(self) -> None:
        """Progress documents: whose they are, and which code made them."""
        served = await live_version(self.database, "progress")
        async for page in reading.document_pages(self.database):
            self.tally.unreadable(page.unreadable)
            self.tally.counts["documents"] += len(page.documents) + len(page.unreadable)
            named = [d["stream_id"] for d in page.documents if isinstance(d.get("stream_id"), str)]
            known = await reading.streams_with_events(self.database, named)
            for document in page.documents:
                with self.tally.guard("user_progress", document):
                    self._document(document, known, served)

    def _document(self, document: Document, known: set[str], served: int) -> None:
        if paths := misfits_of(ProgressDocument, document, only=reading.IDENTITY):
            subject = subject_of("user_progress", document)
            self.tally.report([Finding(FindingKind.DOCUMENT_MALFORMED, subject, told(paths))])
            return
        stream, version = document["stream_id"], document["projection_version"]
        self.tally.counts["other_projection_version"] += version != PROJECTION_VERSION
        if not _belongs(document, known):
            detail = f"document {document['_id']} belongs to no stored stream"
            self.tally.report([Finding(FindingKind.PROGRESS_UNKNOWN, stream, detail)])
        elif version != PROJECTION_VERSION and (paths := _misplaced(document)):
            detail = f"differs from its stream in {', '.join(paths)}"
            self.tally.report([Finding(FindingKind.PROGRESS_DIFFERENT, stream, detail)])
        if version > max(PROJECTION_VERSION, served):
            detail = (
                f"made by projection version {version}; this code is {PROJECTION_VERSION} and leaves it alone"
            )
            self.tally.report([Finding(FindingKind.PROGRESS_NEWER, stream, detail)])


def _stream(event: Document) -> str:
    return str(event["stream_id"])


def _belongs(document: Document, streams: set[str]) -> bool:
    return document["stream_id"] in streams and document["_id"] == stream_object_id(document["stream_id"])


def _misplaced(document: Document) -> list[str]:
    """What other code's document says otherwise of where it belongs; all else is that code's."""
    stream = document["stream_id"]
    user, course = reading.owner_of(stream) or (None, None)
    expected = {"user_id": user, "course_id": course, "slot": stream_slot(stream)}
    return [path for path, value in expected.items() if document[path] != value]


def _lateness(audit: StreamAudit) -> Finding:
    if audit.record is None:
        return Finding(FindingKind.PROGRESS_MISSING, audit.stream, f"no document for {audit.events} events")
    detail = f"document at version {audit.record.version} of {audit.last_version}"
    return Finding(FindingKind.PROGRESS_BEHIND, audit.stream, detail)
