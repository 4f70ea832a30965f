"""Mends what a check found, by the functions of the rebuilds, in the order in which one thing follows from another.

Documents from events, sums from documents, rows from what was counted, the time series from events. Every part of it
may run twice, and beside workers that are at work.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from worker.chunks import chunks
from worker.contract.identity import stream_kind, stream_object_id
from worker.jobs.beside_counting import beside_counting, refold_for_counting
from worker.jobs.context import JobContext
from worker.jobs.rebuild_progress import document_rebuild
from worker.jobs.selected import STREAMS_A_STEP
from worker.jobs.series import Mended, Named, SeriesMending
from worker.storage.database import Database
from worker.storage.stream_selection import StreamSelection, selected_pages
from worker.verify.findings import Fault, Finding, Kind
from worker.verify.remedies import Remedy, prescribe
from worker.watch.recounting import Recount, counted_names
from worker.watch.sums.projection_repair import replace_projections
from worker.watch.sums.row_rebuild import RowRebuild
from worker.watch.sums.runner import Dependencies

NO_ID = "its `_id` is none that a document of ours has"
KEPT = "it may have been sent, and is nobody's to delete"
NO_STREAM = "no stored stream is about it"


@dataclass(frozen=True, slots=True)
class Mending:
    """Mends findings of one run of a job. `given` is what sums work with."""

    context: JobContext
    given: Dependencies

    @classmethod
    @asynccontextmanager
    async def opened(cls, context: JobContext) -> AsyncIterator["Mending"]:
        """With a session of its own for transactions."""
        async with context.transactions() as transactions:
            yield cls(context, beside_counting(context, transactions))

    async def __call__(self, findings: Sequence[Finding]) -> Mended:
        """Mend what can be, and name the rest.

        1. which remedy each has  2. the streams they are about  3. documents  4. sums, and whatever shows them
        5. rows of the outbox  6. rows of the time series. A row that is there may seem wrong because of what
        was counted: where that is mended now, it is left to the next round, if it is found wrong still.
        """
        mended, by_remedy = Mended(), defaultdict[Remedy, list[Finding]](list)
        for finding in findings:  # 1
            found = prescribe(finding, self.context.database.catalogue)
            if finding.about is not None and not isinstance(finding.about[1], Hashable):
                mended.left.append(Named(finding, NO_ID))
            elif found.remedy is None:
                mended.left.append(Named(finding, found.reason))
            else:
                by_remedy[found.remedy].append(finding)
        placed = await self._placed([each for some in by_remedy.values() for each in some])  # 2
        folded = [placed[each] for each in by_remedy[Remedy.FOLD] if each in placed]
        mended.numbers["folded"] += await self._fold(set(folded))  # 3
        await self._count(by_remedy[Remedy.COUNT], placed, {*folded}, mended)  # 4
        rows = by_remedy[Remedy.ROWS]
        if by_remedy[Remedy.FOLD] or by_remedy[Remedy.COUNT]:
            rows = [each for each in rows if each.fault is Fault.MISSING]
        await self._rows(rows, placed, mended)  # 5
        if by_remedy[Remedy.SERIES]:
            async with SeriesMending.opened(self.context) as series:  # 6
                mended.add(await series(by_remedy[Remedy.SERIES]))
        return mended

    async def _placed(self, findings: Sequence[Finding]) -> dict[Finding, str]:
        """The stream of each finding that is about one."""
        placed = {each: each.subject for each in findings if stream_kind(each.subject) is not None}
        return placed | await streams_of(self.context.database, findings)

    async def _fold(self, streams: set[str]) -> int:
        for projection in self.context.database.catalogue.streams:
            rebuild = document_rebuild(self.context, projection)
            for some in chunks(sorted(filter(projection.folds, streams)), STREAMS_A_STEP):
                await rebuild(some)
        return len(streams)

    async def _count(
        self, findings: Sequence[Finding], placed: Mapping[Finding, str], folded: set[str], mended: Mended
    ) -> None:
        """Count the streams again, those that were folded as well; then what single documents show, and views."""
        database = self.context.database
        unread = [each.about[1] for each in findings if each.kind == Kind.DOCUMENT and each.about]
        await replace_projections(database, [each for each in unread if isinstance(each, ObjectId)])
        recount, streams = self._recount(), folded | {placed[each] for each in findings if each in placed}
        for some in chunks(sorted(streams), STREAMS_A_STEP):
            await recount.streams(some)
            await self.context.keep_alive()
        targets: dict[str, set[Any]] = defaultdict(set)
        for finding in findings:
            if finding.about is not None:
                targets[finding.about[0]].add(finding.about[1])
        for collection, identities in targets.items():
            await recount.targets(collection, identities)
        mended.numbers["counted"] += len(findings)

    def _recount(self) -> Recount:
        context = self.context
        names = counted_names(context.database.catalogue)
        return Recount(self.given, context.settings.counts.notify_within, names, refold_for_counting(context))

    async def _rows(self, findings: Sequence[Finding], placed: Mapping[Finding, str], mended: Mended) -> None:
        doubted: dict[str, list[Any]] = defaultdict(list)
        by_row: dict[Any, Finding] = {}
        for finding in findings:
            if finding not in placed:
                mended.left.append(Named(finding, NO_STREAM))
            elif finding.about and finding.about[0] == "notifications":
                doubted[placed[finding]].append(finding.about[1])
                by_row[finding.about[1]] = finding
        streams = sorted({placed[each] for each in findings if each in placed})
        if streams:
            rebuild = RowRebuild(self.given, self.context.settings.counts.notify_within)
            done = await rebuild(streams, doubted)
            mended.numbers.update(done.numbers)
            mended.left += [Named(by_row[each], KEPT) for each in done.kept]


async def streams_of(database: Database, findings: Sequence[Finding]) -> dict[Finding, str]:
    """The streams of documents whose `_id` is made of one; of rows of the outbox, as the rows say."""
    catalogue, found = database.catalogue, dict[Finding, str]()
    hashing = {each.target.collection for each in catalogue.streams}
    hashing |= {each.counted.collection for each in catalogue.sums}
    hashed: dict[Any, list[Finding]] = defaultdict(list)
    for finding in findings:
        collection, identity = finding.about or ("", None)
        if collection in hashing:
            hashed[identity].append(finding)
        elif collection == "notifications" and (stream := _named_by_row(identity)) is not None:
            found[finding] = stream
    if hashed:
        async for page in selected_pages(database, StreamSelection()):
            for stream in page.streams:
                found.update(dict.fromkeys(hashed.get(stream_object_id(stream), ()), stream))
    return found


def _named_by_row(identity: Any) -> str | None:
    """The stream in the `_id` of a notification."""
    stream = str(identity).partition(":")[2]
    return stream if stream_kind(stream) is not None else None
