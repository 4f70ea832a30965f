"""Checks event store, time series and the documents of stream projections against each other, stream by stream."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from projections.kinds import StreamProjection
from worker.contract.identity import stream_id
from worker.storage.database import Database, Document
from worker.storage.reading import name_of
from worker.verify import reading
from worker.verify.findings import Fault, Finding, Grace, Kind, Tally, subject_of
from worker.verify.fold_audit import FoldAudit
from worker.verify.identity_audit import audit_identity
from worker.verify.leases_check import releases_ahead
from worker.verify.queue_check import quarantined_streams
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
            folds = await self._folds([stream for stream, _ in groups])
            closed = []
            for stream, some in groups:
                if opened is None or opened.stream != stream:
                    closed += [opened] if opened else []
                    opened = StreamAudit(stream, folds[stream], self.latest, self.sources)
                opened.feed(some)
                suspects |= {stream} if opened.take_findings() else set()
                self.tally.report(opened.take_repeated())
            await self._close(closed, suspects)
        await self._close([opened] if opened else [], suspects)

    async def _folds(self, streams: Sequence[str]) -> dict[str, list[FoldAudit]]:
        """The documents of each stream, one for each projection that folds it."""
        folds: dict[str, list[FoldAudit]] = {stream: [] for stream in streams}
        for projection in self.database.catalogue.streams:
            own = [stream for stream in folds if projection.folds(stream)]
            documents = await reading.digests_of(self.database, projection, own)
            for stream in own:
                folds[stream].append(FoldAudit(stream, projection, documents.get(stream)))
        return folds

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
        documents = [fold.document for audit in audits for fold in audit.folds]
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
        """Read one stream again: its documents before its events, the events before the rows.

        So no document can be ahead of the events, and a row without event may belong to one stored since.
        """
        audit = StreamAudit(stream, (await self._folds([stream]))[stream], self.latest)
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
        counts = self.tally.counts
        counts["streams"] += len(audits)
        counts["events"] += sum(audit.events for audit in audits)
        counts["voids"] += sum(audit.voids for audit in audits)
        for projection in self.database.catalogue.streams:
            folds = (fold for audit in audits for fold in audit.folds if fold.projection is projection)
            await self._count_behind(projection, [fold for fold in folds if fold.behind])
        self.on_progress(counts["events"])

    async def _count_behind(self, projection: StreamProjection, behind: Sequence[FoldAudit]) -> None:
        """Count documents that wait, and report those that are not in quarantine.

        On a live system only those that wait for an old event, and still do.
        """
        quarantined = await quarantined_streams(
            self.database, projection.name, [fold.stream for fold in behind]
        )
        counts = self.tally.by_projection[projection.name]
        counts.behind += len(behind)
        counts.quarantined += len(quarantined)
        overdue = [fold for fold in behind if fold.stream not in quarantined]
        if not self.grace.quiescent:
            overdue = [fold for fold in overdue if self.grace.is_overdue(fold.overdue_since)]
        now = await reading.digests_of(self.database, projection, (fold.stream for fold in overdue))
        for fold in overdue:
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
        """The documents of every stream projection: whose they are, and which code made them."""
        projections = self.database.catalogue.streams
        ahead = await releases_ahead(self.database, "progress", (each.version for each in projections))
        for projection in projections:
            collection, served = projection.target.collection, projection.version + ahead
            async for page in reading.document_pages(self.database, projection):
                counts = self.tally.by_projection[projection.name]
                counts.documents += len(page.documents) + len(page.unreadable)
                named = [
                    each["stream_id"] for each in page.documents if isinstance(each.get("stream_id"), str)
                ]
                known = await reading.streams_with_events(self.database, named)
                for document in self.tally.readable(page):
                    with self.tally.guard(collection, document["_id"]):
                        other = document.get("projection_version") != projection.version
                        findings = list(audit_identity(projection, document, known, served))
                        malformed = any(finding.fault is Fault.MALFORMED for finding in findings)
                        counts.other_version += other and not malformed
                        self.tally.report(findings)


def _stream(event: Document) -> str:
    return str(event["stream_id"])
