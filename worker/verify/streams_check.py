"""Checks event store, time series and the documents of stream projections against each other, stream by stream."""

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
from worker.verify.findings import Fault, Finding, Grace, Kind, Tally, differs, subject_of
from worker.verify.fold_audit import PROGRESS, FoldAudit
from worker.verify.leases_check import live_version
from worker.verify.queue_check import quarantined_streams
from worker.verify.shapes import misfits_named, misfits_of
from worker.verify.sources import Sources
from worker.verify.stream_audit import StreamAudit

# Owners of rows that are looked up together.
_OWNERS_AT_ONCE = 1_000


@dataclass(slots=True)
class StreamsCheck:
    """One run: what it reads, what it excuses, what it found. Nothing was recorded after `latest`."""

    database: Database
    grace: Grace
    latest: datetime
    sources: Sources
    on_progress: Callable[[int], None]
    tally: Tally = field(default_factory=Tally)

    async def streams(self) -> None:
        """Walk the event store once. The last stream of a page may go on in the next one and stays open."""
        opened: StreamAudit | None = None
        suspects: set[str] = set()
        async for page in reading.event_pages(self.database):
            events = self._placed(self.tally.readable(page))
            groups = [(stream, list(some)) for stream, some in groupby(events, _stream)]
            documents = await reading.digests_of(self.database, (stream for stream, _ in groups))
            closed = []
            for stream, some in groups:
                if opened is None or opened.stream != stream:
                    closed += [opened] if opened else []
                    fold = FoldAudit(stream, documents.get(stream))
                    opened = StreamAudit(stream, fold, self.latest, self.sources)
                opened.feed(some)
                suspects |= {stream} if opened.take_findings() else set()
                self.tally.report(opened.take_repeated())
            await self._close(closed, suspects)
        await self._close([opened] if opened else [], suspects)

    def _placed(self, events: Iterable[Document]) -> list[Document]:
        """Those that say where they belong; the others are reported."""
        placed = []
        for event in events:
            if isinstance(event.get("stream_id"), str) and isinstance(event.get("version"), int):
                placed.append(event)
            else:
                subject, detail = subject_of("course_events", event), "an event without stream or version"
                self.tally.report([Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, detail)])
        return placed

    async def _close(self, audits: Sequence[StreamAudit], suspects: set[str]) -> None:
        """Check streams whose events are all read; `suspects` loses those among them."""
        await self._meet_rows(audits)
        documents = [audit.fold.document for audit in audits]
        self.tally.unreadable(each.unreadable for each in documents if each and each.unreadable)
        for audit in audits:
            audit.close()
            if audit.stream in suspects or audit.take_findings() or audit.extra_rows or audit.lacks_rows:
                suspects.discard(audit.stream)
                await self._look_again(audit.stream)
        await self._count(audits)

    async def _meet_rows(self, audits: Sequence[StreamAudit]) -> None:
        """Show each audit the rows of its learner and course."""
        owners = ((reading.owner_of(audit.stream), audit) for audit in audits)
        by_owner = {owner: audit for owner, audit in owners if owner is not None}
        async for page in reading.rows_of(self.database, by_owner):
            for row in self.tally.readable(page):
                owner = reading.row_owner(row)
                if owner is not None and (audit := by_owner.get(owner)) is not None:
                    with self.tally.guard("user_interactions", row.get("_id")):
                        audit.meet(row)

    async def _look_again(self, stream: str) -> None:
        """Read one stream anew: its document before its events, the events before the rows.

        So the document cannot be ahead of the events, and a row without event may belong to one stored since.
        """
        documents = await reading.digests_of(self.database, [stream])
        audit = StreamAudit(stream, FoldAudit(stream, documents.get(stream)), self.latest)
        async for page in reading.stream_pages(self.database, stream):
            audit.feed([event for event in page.documents if isinstance(event.get("version"), int)])
            self.tally.report_unless_young(audit.take_findings(), self.grace)
        audit.close()
        await self._meet_rows([audit])
        self.tally.report_unless_young([*audit.take_findings(), *audit.missing_rows()], self.grace)
        await self._report_extra(audit)

    async def _report_extra(self, audit: StreamAudit) -> None:
        if not audit.extra_rows:
            return
        known = await reading.events_in_stream(self.database, audit.stream, audit.extra_rows)
        for row_id in audit.extra_rows:
            if not (isinstance(row_id, UUID) and row_id in known):
                detail = f"row {name_of(row_id)} has no event in this stream"
                self.tally.report([Finding(Kind.ROW, Fault.EXTRA, audit.stream, detail)])

    async def _count(self, audits: Sequence[StreamAudit]) -> None:
        counts, progress = self.tally.counts, self.tally.by_projection[PROGRESS]
        counts["streams"] += len(audits)
        counts["events"] += sum(audit.events for audit in audits)
        counts["voids"] += sum(audit.voids for audit in audits)
        behind = [audit.fold for audit in audits if audit.fold.behind]
        quarantined = await quarantined_streams(self.database, [fold.stream for fold in behind])
        progress.behind += len(behind)
        progress.quarantined += len(quarantined)
        await self._report_behind([fold for fold in behind if fold.stream not in quarantined])
        self.on_progress(counts["events"])

    async def _report_behind(self, behind: Sequence[FoldAudit]) -> None:
        """Report documents that wait; on a live system those that wait for an old event, and still do."""
        if not self.grace.quiescent:
            behind = [fold for fold in behind if self.grace.is_overdue(fold.overdue_since)]
        now = await reading.digests_of(self.database, (fold.stream for fold in behind))
        for fold in behind:
            if self.grace.quiescent or now.get(fold.stream) == fold.document:
                self.tally.report([fold.behind])

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
                    self.tally.report([Finding(Kind.ROW, Fault.EXTRA, "user_interactions", detail)])
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
            self.tally.by_projection[PROGRESS].documents += len(page.documents) + len(page.unreadable)
            named = [d["stream_id"] for d in page.documents if isinstance(d.get("stream_id"), str)]
            known = await reading.streams_with_events(self.database, named)
            for document in self.tally.readable(page):
                with self.tally.guard("user_progress", document["_id"]):
                    self._document(document, known, served)

    def _document(self, document: Document, known: set[str], served: int) -> None:
        if paths := misfits_of(ProgressDocument, document, only=reading.IDENTITY):
            subject = subject_of("user_progress", document)
            self.tally.report([Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, misfits_named(paths))])
            return
        stream, version = document["stream_id"], document["projection_version"]
        self.tally.by_projection[PROGRESS].other_version += version != PROJECTION_VERSION
        if not _belongs(document, known):
            detail = f"document {document['_id']} belongs to no stored stream"
            self.tally.report([Finding(PROGRESS, Fault.UNKNOWN, stream, detail)])
        elif version != PROJECTION_VERSION:
            what = "differs from its stream in"
            self.tally.report(differs(PROGRESS, stream, what, _misplaced(document)))
        if version > max(PROJECTION_VERSION, served):
            code = f"this code is {PROJECTION_VERSION} and leaves it alone"
            detail = f"made by projection version {version}; {code}"
            self.tally.report([Finding(PROGRESS, Fault.NEWER, stream, detail)])


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
