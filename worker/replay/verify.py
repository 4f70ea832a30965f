"""Checks that event store, time series, progress documents and statistics agree; right while the worker writes.

Every document is held against its events up to the document's own version. Whatever looks wrong is looked at
a second time, read anew in an order in which work in progress cannot look wrong, before it is reported.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from projections.progress import PROJECTION_VERSION
from worker.contract.identity import stream_id, stream_object_id
from worker.replay import reading
from worker.replay.audit import Fault, StreamAudit, owner
from worker.replay.counts_check import check_counts, was_counted
from worker.replay.verification import Finding, FindingKind, Tally, Verification
from worker.storage.database import Database, Document
from worker.timing import Clock, SystemClock

# An event is stored seconds before its row and, when another writer was faster, after a later version. A
# worker that died in between is back and has redelivered within a minute.
YOUNG = timedelta(seconds=60)

# Owners of rows that are looked up together.
_OWNERS_AT_ONCE = 1_000
_SYSTEM_CLOCK = SystemClock()


async def verify(
    database: Database,
    *,
    settled: bool = False,
    clock: Clock = _SYSTEM_CLOCK,
    on_progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check everything stored under the database's prefix; only reads.

    `settled` says that nothing is being written and everything was drained: then a document that is missing
    or behind, a missing row, a hole and what is not counted are findings however young they are. A stream set
    aside is never one for being behind. Statistics that seem wrong are looked at again after some seconds.
    `on_progress` gets the number of events checked so far. Memory holds one page of events and, of the longest
    stream, about 200 bytes an event. Raises `Retryable` while MongoDB is away.
    """
    check = _Check(database, settled, clock.now() - YOUNG, on_progress or (lambda _: None))
    # 1. each stream's events against its rows and its document
    await check.streams()
    # 2. rows of learners and courses that have no events
    await check.rows_without_stream()
    # 3. documents that have no events
    await check.documents()
    # 4. what could not be stored
    await check.dead_letters()
    # 5. what was counted: projections, statistics, outbox and billing
    if await was_counted(database):
        await check_counts(database, check.tally, clock, settled=settled)
    return check.tally.result()


@dataclass(slots=True)
class _Check:
    """One run: what it reads, what it excuses, what it found."""

    database: Database
    settled: bool
    young_since: datetime
    on_progress: Callable[[int], None]
    tally: Tally = field(default_factory=Tally)

    async def streams(self) -> None:
        """Walk the event store once. The last stream of a page may go on in the next one and stays open."""
        opened: StreamAudit | None = None
        owners: dict[str, reading.Owner] = {}
        async for page in reading.event_pages(self.database):
            groups = [
                (stream, list(events)) for stream, events in groupby(page, lambda event: event["stream_id"])
            ]
            documents = await reading.documents_of(self.database, (stream for stream, _ in groups))
            closed = []
            for stream, events in groups:
                if opened is None or opened.stream != stream:
                    closed += [opened] if opened else []
                    opened = StreamAudit(stream, documents.get(stream))
                    owners[stream] = owner(events[0])
                opened.feed(events)
            await self._close(closed, owners)
            owners = {opened.stream: owners[opened.stream]} if opened else {}
        await self._close([opened] if opened else [], owners)

    async def _close(self, audits: Sequence[StreamAudit], owners: dict[str, reading.Owner]) -> None:
        """Judge streams whose events are all read."""
        by_owner = {owners[audit.stream]: audit for audit in audits}
        async for row_owner, row in reading.rows_of(self.database, by_owner):
            by_owner[row_owner].meet(row)
        for audit in audits:
            if audit.faults or audit.extra_rows or audit.missing_rows() or audit.progress_faults():
                await self._look_again(audit.stream, owners[audit.stream])
        await self._count(audits)

    async def _look_again(self, stream: str, row_owner: reading.Owner) -> None:
        """Read one stream anew: its document before its events, the events before the rows.

        So the document cannot be ahead of the events, and a row without event may belong to one stored since.
        """
        documents = await reading.documents_of(self.database, [stream])
        audit = StreamAudit(stream, documents.get(stream))
        async for events in reading.stream_pages(self.database, stream):
            audit.feed(events)
        async for _, row in reading.rows_of(self.database, [row_owner]):
            audit.meet(row)
        self._judge([*audit.faults, *audit.missing_rows()])
        if audit.events:
            self._judge(audit.progress_faults())
        await self._judge_extra(audit)

    async def _judge_extra(self, audit: StreamAudit) -> None:
        if not audit.extra_rows:
            return
        known = await reading.events_in_stream(self.database, audit.stream, audit.extra_rows)
        self.tally.report(
            Finding(FindingKind.ROW_EXTRA, audit.stream, f"row {row_id} has no event in this stream")
            for row_id in audit.extra_rows
            if row_id not in known
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
        aside = (
            await reading.streams_set_aside(self.database, (audit.stream for audit in late))
            if late
            else set()
        )
        counts["behind"] += len(late)
        counts["set_aside"] += len(aside)
        if self.settled:
            self.tally.report(_lateness(audit) for audit in late if audit.stream not in aside)
        self.on_progress(counts["events"])

    async def rows_without_stream(self) -> None:
        async for owners in _distinct_chunks(self._counted(reading.row_owners(self.database))):
            streams = {stream_id(str(course), str(user)): (user, course) for user, course in owners}
            known = await reading.streams_with_events(self.database, list(streams))
            for stream in streams.keys() - known:
                await self._look_again(stream, streams[stream])

    async def _counted(self, owners: AsyncIterable[reading.Owner]) -> AsyncIterable[reading.Owner]:
        async for row_owner in owners:
            self.tally.counts["time_series_rows"] += 1
            yield row_owner

    async def documents(self) -> None:
        async for page in reading.document_pages(self.database):
            self.tally.counts["documents"] += len(page)
            self.tally.counts["other_projection_version"] += sum(
                document["projection_version"] != PROJECTION_VERSION for document in page
            )
            known = await reading.streams_with_events(
                self.database, [document["stream_id"] for document in page]
            )
            self.tally.report(_unknown(document) for document in page if not _belongs(document, known))

    async def dead_letters(self) -> None:
        for group in await reading.dead_letter_counts(self.database):
            if group["kind"] == "gap":
                self.tally.counts["gap_records"] += group["count"]
            else:
                self.tally.dead_letter_reasons[group["reason"]] = group["count"]


def _belongs(document: Document, streams: set[str]) -> bool:
    return document["stream_id"] in streams and document["_id"] == stream_object_id(document["stream_id"])


def _unknown(document: Document) -> Finding:
    return Finding(
        FindingKind.PROGRESS_UNKNOWN,
        document["stream_id"],
        f"document {document['_id']} belongs to no stored stream",
    )


def _lateness(audit: StreamAudit) -> Finding:
    if audit.document is None:
        return Finding(FindingKind.PROGRESS_MISSING, audit.stream, f"no document for {audit.events} events")
    detail = f"document at version {audit.document['version']} of {audit.last_version}"
    return Finding(FindingKind.PROGRESS_BEHIND, audit.stream, detail)


async def _distinct_chunks(owners: AsyncIterable[reading.Owner]) -> AsyncIterable[set[reading.Owner]]:
    """Chunks of different owners; one may come again in a later chunk."""
    chunk: set[reading.Owner] = set()
    async for row_owner in owners:
        chunk.add(row_owner)
        if len(chunk) >= _OWNERS_AT_ONCE:
            yield chunk
            chunk = set()
    if chunk:
        yield chunk
