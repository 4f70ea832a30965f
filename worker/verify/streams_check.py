"""Checks event store, time series and the documents of stream projections against each other, stream by stream."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from projections.billing import BILLING
from projections.kinds import StreamProjection
from worker.contract.identity import foreign_object_id
from worker.storage.database import Document
from worker.storage.expiry import Kept
from worker.storage.lesson_lists import with_lists
from worker.storage.reading import Reading, name_of
from worker.storage.skipped_versions import skips_of
from worker.verify import reading
from worker.verify.findings import Fault, Finding, Kind, Run, subject_of
from worker.verify.fold_audit import IDENTITY, FoldAudit, audit_identity
from worker.verify.leases_check import releases_ahead
from worker.verify.queue_check import quarantined_streams
from worker.verify.sources import Sources
from worker.verify.stream_audit import SERIES, StreamAudit

# Streams of rows that are looked up together.
_STREAMS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class StreamsCheck:
    """The three walks over streams, rows and documents.

    Nothing was recorded after `latest`; `kept` says which rows may have expired.
    """

    run: Run
    latest: datetime
    sources: Sources
    kept: Kept
    on_progress: Callable[[int], None]

    async def streams(self, only: Collection[str] | None = None) -> None:
        """Walk the events of these streams once, of all where none is named.

        The last stream of a page may go on in the next one and stays open.
        """
        opened: dict[str, StreamAudit] = {}
        async for page in reading.event_pages(self.run.database, only):
            placed = await with_lists(self.run.database, [*self._placed(page)])
            groups = [(stream, list(some)) for stream, some in groupby(placed, itemgetter("stream_id"))]
            new = [stream for stream, _ in groups if stream not in opened]
            opened |= await self._audits(new, self.sources)
            for stream, some in groups:
                opened[stream].feed(some)
                found = opened[stream].take_findings()
                # An event of a record that is another event's: no second look can excuse it.
                repeated = [finding for finding in found if finding.fault is Fault.SOURCE_REPEATED]
                self.run.tally.report(repeated)
                opened[stream].suspect |= len(found) > len(repeated)
            await self._close([opened.pop(stream) for stream in list(opened)[:-1]])
        await self._close(list(opened.values()))

    async def _audits(self, streams: Sequence[str], sources: Sources | None = None) -> dict[str, StreamAudit]:
        """An audit of each stream, with its documents: one for each projection that folds it."""
        now, folds = self.run.clock.now(), dict[str, list[FoldAudit]]((stream, []) for stream in streams)
        for projection in self.run.database.catalogue.streams:
            own = [stream for stream in folds if projection.folds(stream)]
            documents = await reading.digests_of(self.run.database, projection, own)
            skips = await skips_of(self.run.database, projection.name, own)
            for stream in own:
                folds[stream].append(FoldAudit(stream, projection, documents.get(stream), skips, now))
        may_be_gone = partial(self.kept.may_be_gone, now=now)
        return {
            stream: StreamAudit(stream, each, self.latest, sources, may_be_gone)
            for stream, each in folds.items()
        }

    def _placed(self, page: Reading) -> Iterator[Document]:
        """The events that say where they belong. One without a version is told; those of no stream have a walk."""
        for event in self.run.tally.readable(page):
            if not isinstance(event.get("stream_id"), str):
                continue
            if isinstance(event.get("version"), int):
                yield event
            else:
                self._report_unplaced(event)

    def _report_unplaced(self, event: Document) -> None:
        subject, detail = subject_of("course_events", event), "an event without stream or version"
        self.run.tally.report([Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, detail)])

    async def events_without_stream(self) -> None:
        """Events whose stream is no text: whoever goes from stream to stream meets none of them."""
        async for page in reading.events_outside_streams(self.run.database):
            for event in self.run.tally.readable(page):
                self._report_unplaced(event)

    async def _close(self, audits: Sequence[StreamAudit]) -> None:
        """Check streams whose events are all read."""
        await self._meet_rows(audits)
        documents = [fold.document for audit in audits for fold in audit.folds]
        self.run.tally.unreadable(each.unreadable for each in documents if each and each.unreadable)
        for audit in audits:
            audit.close()
            if audit.suspect or audit.take_findings() or audit.extra_rows or any(audit.missing_rows()):
                await self._look_again(audit.stream)
        await self._meet_payments(audits)
        await self._count(audits)

    async def _meet_payments(self, audits: Sequence[StreamAudit]) -> None:
        """Payments that enrolments name, and that have no event of their own."""
        named = {payment: audit for audit in audits for payment in audit.payments}
        missing = await reading.absent(self.run.database.course_events, named) if named else []
        for payment in missing:
            audit, detail = named[payment], f"the payment {payment} that an enrolment names has no event"
            since = audit.payments[payment]
            finding = Finding(Kind.PAYMENT, Fault.MISSING, audit.stream, detail, since)
            self.run.tally.report_unless_young([finding], self.run.grace)

    async def _meet_rows(self, audits: Sequence[StreamAudit]) -> None:
        """Show each audit the rows of its learner and course."""
        by_stream: dict[str | None, StreamAudit] = {audit.stream: audit for audit in audits}
        async for page in reading.rows_of(self.run.database, [audit.stream for audit in audits]):
            for row in self.run.tally.readable(page):
                if (audit := by_stream.get(reading.stream_of(row))) is not None:
                    with self.run.tally.guard("user_interactions", row.get("_id")):
                        audit.meet(row)

    async def _look_again(self, stream: str) -> None:
        """Read one stream again: its documents before its events, the events before the rows.

        So no document can be ahead of the events, and a row without event may belong to one stored since.
        """
        audit = (await self._audits([stream]))[stream]
        tally, grace = self.run.tally, self.run.grace
        async for page in reading.stream_pages(self.run.database, stream):
            placed = [event for event in page.documents if isinstance(event.get("version"), int)]
            audit.feed(await with_lists(self.run.database, placed))
            tally.report_unless_young(audit.take_findings(), grace)
        audit.close()
        await self._meet_rows([audit])
        tally.report_unless_young([*audit.take_findings(), *audit.missing_rows()], grace)
        known = await reading.events_in_stream(self.run.database, stream, audit.extra_rows)
        for row_id in audit.extra_rows:
            if not (isinstance(row_id, UUID) and row_id in known):
                detail, about = f"row {name_of(row_id)} has no event in this stream", (SERIES, row_id)
                tally.report([Finding(Kind.ROW, Fault.EXTRA, stream, detail, about=about)])

    async def _count(self, audits: Sequence[StreamAudit]) -> None:
        counts = self.run.tally.counts
        counts["streams"] += len(audits)
        counts["events"] += sum(audit.events for audit in audits)
        counts["voids"] += sum(audit.voids for audit in audits)
        counts["rows_expired"] += sum(audit.expired_rows for audit in audits)
        for projection in self.run.database.catalogue.streams:
            folds = [fold for audit in audits for fold in audit.folds if fold.projection is projection]
            told = self.run.tally.by_projection[projection.name]
            for fold in folds:
                if fold.document is not None:
                    told.refused(_known(fold.document.without_effect, projection))
            await self._count_behind(projection, [fold for fold in folds if fold.behind])
        self.on_progress(counts["events"])

    async def _count_behind(self, projection: StreamProjection, behind: Sequence[FoldAudit]) -> None:
        """Count documents that wait, and report those that are not in quarantine.

        On a live system only those that wait for an old event, and still do.
        """
        database, tally, grace = self.run.database, self.run.tally, self.run.grace
        streams = [fold.stream for fold in behind]
        quarantined = await quarantined_streams(database, projection.name, streams)
        tally.by_projection[projection.name].behind += len(behind)
        tally.by_projection[projection.name].quarantined += len(quarantined)
        yielding = await reading.yielding_streams(database, projection, _missing(behind))
        overdue = [fold for fold in behind if fold.stream not in quarantined | yielding]
        if not grace.quiescent:
            overdue = [fold for fold in overdue if grace.is_overdue(fold.overdue_since)]
        now = await reading.digests_of(database, projection, (fold.stream for fold in overdue))
        for fold in overdue:
            if grace.quiescent or now.get(fold.stream) == fold.document:
                tally.report([fold.behind])

    async def rows_without_stream(self) -> None:
        """Rows of learners and courses that have no events."""
        async for streams in self._streams_of_rows():
            for stream in streams - await reading.streams_with_events(self.run.database, streams):
                await self._look_again(stream)

    async def _streams_of_rows(self) -> AsyncIterator[set[str]]:
        """Chunks of different streams; one may come again in a later chunk."""
        chunk: set[str] = set()
        paths = {"_id": 1, "metadata.user_id": 1, "metadata.course_id": 1}
        async for page in reading.pages(self.run.database.user_interactions, {}, paths):
            self.run.tally.counts["time_series_rows"] += len(page.documents) + len(page.unreadable)
            for row in page.documents:
                if stream := reading.stream_of(row):
                    chunk.add(stream)
                else:
                    detail = f"row {name_of(row.get('_id'))} names no learner and course"
                    self.run.tally.report([Finding(Kind.ROW, Fault.EXTRA, "user_interactions", detail)])
            if len(chunk) >= _STREAMS_AT_ONCE:
                yield chunk
                chunk = set()
        if chunk:
            yield chunk

    async def documents(self) -> None:
        """The documents of every stream projection: whose they are, and which code made them."""
        database, tally = self.run.database, self.run.tally
        projections = database.catalogue.streams
        ahead = await releases_ahead(database, "progress", (each.version for each in projections))
        for projection in projections:
            counts, served = tally.by_projection[projection.name], projection.version + ahead
            collection = database.collection(projection.target.collection)
            async for page in reading.pages(collection, {}, dict.fromkeys(IDENTITY, 1), sort=[("_id", 1)]):
                counts.documents += len(page.documents) + len(page.unreadable)
                if projection.name == BILLING.name:
                    tally.counts["billing_transactions"] += len(page.documents) + len(page.unreadable)
                streams = [each.get("stream_id") for each in page.documents]
                known = await reading.streams_with_events(database, streams)
                for document in tally.readable(page):
                    if projection.yields_to and "stream_id" not in document:
                        continue  # the platform's own, or one of a release before: see below
                    with tally.guard(page.collection, document["_id"]):
                        other = document.get("projection_version") != projection.version
                        findings = list(audit_identity(projection, document, known, served))
                        malformed = any(finding.fault is Fault.MALFORMED for finding in findings)
                        counts.other_version += other and not malformed
                        tally.report(findings)

        if BILLING in projections:
            await self._rows_of_before()

    async def _rows_of_before(self) -> None:
        """Rows of billing that no fold has made: the platform's own, which stay, and those of a release before."""
        collection, tally = self.run.database.billing_transactions, self.run.tally
        paths = dict.fromkeys(("transaction_id", "event_id", "status"), 1)
        async for page in reading.pages(collection, {"stream_id": {"$exists": False}}, paths):
            ours = [each for each in tally.readable(page) if billed_by_us(each)]
            named = [each.get("event_id") for each in ours]
            lost = await reading.absent(self.run.database.course_events, named) if ours else []
            streams = {each["_id"]: f"transaction_{each['_id']}" for each in ours}
            folded = await reading.streams_with_events(self.run.database, streams.values())
            for row in ours:
                subject, about = subject_of(collection.name, row), (collection.name, row["_id"])
                if streams[row["_id"]] in folded:
                    detail = "a row that does not say which events it is made of"
                    tally.report(
                        [Finding(BILLING.name, Fault.DIFFERENT, streams[row["_id"]], detail, about=about)]
                    )
                elif row.get("event_id") in lost:
                    detail = "a billing row of no stored payment"
                    tally.report([Finding(BILLING.name, Fault.UNKNOWN, subject, detail, about=about)])


def billed_by_us(row: Document) -> bool:
    """A release before wrote the row: it stands under the `_id` that the worker gives its transaction."""
    transaction = row.get("transaction_id")
    return isinstance(transaction, str) and row["_id"] == foreign_object_id(transaction)


def _known(refused: Mapping[str, int], projection: StreamProjection) -> Mapping[str, int]:
    """What a document says has no effect, by a reason of its projection: anything else there somebody has written."""
    return {reason: number for reason, number in refused.items() if reason in projection.reasons}


def _missing(behind: Sequence[FoldAudit]) -> list[str]:
    return [fold.stream for fold in behind if fold.document is None]
