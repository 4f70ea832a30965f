"""`adopt`: the platform's own records of learners become the worker's, its numbers are kept, and all is counted."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from projections.kinds import StreamProjection
from worker.adopt import scan, statistics
from worker.adopt.convert import Converter
from worker.adopt.outcome import Adoption, DocumentAdopted, Reason, SetAside
from worker.adopt.report import Report
from worker.adopt.shared import RECORDS, SharedDocuments
from worker.jobs.beside_counting import beside_counting
from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments
from worker.jobs.rebuild_progress import document_rebuild
from worker.storage.transactions import Transactions
from worker.watch.roles import contenders, counters

_SHOWN = ("courses", "users")


class AdoptArguments(JobArguments):
    """What an adoption is told about the platform's records."""

    counted_until: datetime | None = None
    duplicates: Literal["set-aside", "furthest"] = "set-aside"

    @property
    def selection(self) -> Mapping[str, JsonValue]:
        return {"duplicates": self.duplicates}


@dataclass(slots=True)
class _Place:
    """Where a run has come to: in which phase, below which `_id`, and the page that may have been converted."""

    phase: Literal["documents", "numbers", "records", "sums"] = "documents"
    after: Any = None
    page: Sequence[Any] = ()
    first: Mapping[str, Any] | None = None
    """What was found before anything was written."""
    done: Sequence[str] = ()
    """The shared collections whose documents are adopted."""


class _Adopting:
    """One run, or one attempt of it."""

    def __init__(self, context: JobContext, arguments: AdoptArguments, transactions: Transactions) -> None:
        self._context, self._database = context, context.database
        stored = dict(context.checkpoint or {})
        self._report = Report.of(stored.pop("report", None))
        stored.pop("session", None)  # former releases kept it here
        self._place = _Place(**stored)
        self._transactions = transactions
        self._adoption = Adoption(
            run=context.run_id,
            notify_within=context.settings.counts.notify_within,
            counted_until=arguments.counted_until,
            furthest=arguments.duplicates == "furthest",
        )

    async def run(self) -> dict[str, JsonValue]:
        """Each phase may be killed and begun again.

        1. look: how many records, what the platform counts  2. adopt the documents of shared collections that the
        worker owns  3. keep the platform's numbers  4. adopt the records  5. count, and show the sums  6. decide what
        only one document can have
        """
        place = self._place
        if place.first is None:
            place.first = await self._look()  # 1
            await self._save(0)
        if place.phase == "documents":
            for projection in self._shared():
                await self._adopt_documents(projection)  # 2
            place.phase = "numbers"  # what is done of the documents is saved
        if place.phase == "numbers":
            await self._keep_numbers()  # 3
            place.phase = "records"
            await self._save(0)
        if place.phase == "records":
            await self._adopt()  # 4
            place.phase, place.page = "sums", ()
            await self._save(0)
        if not self._context.dry_run:
            await self._count()  # 5
            await self._decide()  # 6
        return self._outcome()

    def _shared(self) -> list[StreamProjection]:
        """The projections of shared collections that are the worker's, but for those that are done."""
        return [
            each
            for each in self._database.catalogue.streams
            if each.target.collection in RECORDS.keys() - set(self._place.done)
        ]

    async def _adopt_documents(self, projection: StreamProjection) -> None:
        """Page by page; one that is done again finds its documents adopted, or folds what was opened before."""
        context, place = self._context, self._place
        shared = SharedDocuments(self._database, projection, context.run_id, context.clock)
        rebuild = document_rebuild(context, projection)
        collection = self._database.collection(shared.collection)
        async with aclosing(scan.pages(self._database, place.after, collection)) as pages:
            async for ids in pages:
                await context.keep_alive()
                done = await (shared.show if context.dry_run else shared.open)(ids.identities)
                outcomes: list[DocumentAdopted | SetAside] = [*ids.set_aside, *done]
                if not context.dry_run:
                    opened = [each.stream for each in done if isinstance(each, DocumentAdopted)]
                    folded = await rebuild(opened)
                    failed = {failure.stream: failure.message for failure in folded.failed}
                    outcomes = [_unless_failed(each, failed) for each in outcomes]
                place.after = ids.after
                await self._save(ids.records, **self._report.take(outcomes))
        place.after, place.done = None, (*place.done, shared.collection)
        await self._save(0)

    async def _look(self) -> dict[str, Any]:
        matched, foreign = await scan.count_records(self._database)
        documents = [
            await scan.count_foreign(self._database, each.target.collection) for each in self._shared()
        ]
        await self._context.total(foreign + sum(documents))
        shown = {name: asdict(await statistics.compare(self._database, name)) for name in _SHOWN}
        duplicates = await scan.find_duplicates(self._database)
        return {
            "matched": matched,
            "records": foreign,
            "learners_with_several": scan.by_pair(duplicates),
            "enrolments": {name: {**each, "samples": list(each["samples"])} for name, each in shown.items()},
        }

    async def _keep_numbers(self) -> None:
        if self._context.dry_run:
            return
        for name in _SHOWN:
            async with aclosing(statistics.keep_former(self._database, name)) as kept:
                async for each in kept:
                    await self._save(0, numbers_kept=each.kept, numbers_refused=each.refused)

    async def _adopt(self) -> None:
        """Page by page. The page at hand is saved before: what of it is gone when we come back was converted."""
        duplicates = await scan.find_duplicates(self._database)
        converter = Converter(
            self._database, self._transactions, self._adoption, duplicates, self._context.clock
        )
        if self._place.page:
            await self._adopt_page(converter, scan.Ids(self._place.page, [], self._place.after), again=True)
        async with aclosing(scan.pages(self._database, self._place.after)) as pages:
            async for ids in pages:
                await self._adopt_page(converter, ids)

    async def _adopt_page(self, converter: Converter, ids: scan.Ids, *, again: bool = False) -> None:
        if not again:
            self._place.page, self._place.after = ids.identities, ids.after
            await self._save(len(ids.set_aside), **self._report.take(ids.set_aside))
        await self._context.keep_alive()
        work = converter.show if self._context.dry_run else converter.convert
        page = await work(ids.identities)
        counts = self._report.take(page.outcomes)
        # Those that a killed attempt had converted before it could say so.
        counts["adopted"] = counts.get("adopted", 0) + (page.absent if again else 0)
        self._place.page = ()
        await self._save(len(ids.identities), **counts)

    async def _count(self) -> None:
        """All sums as they are kept live, but for records that were set aside: what is right costs a read."""
        given = beside_counting(self._context, self._transactions)
        for counter in counters(given, self._adoption.notify_within).values():
            async with aclosing(counter.missed()) as missed:
                async for keys in missed:
                    await self._context.keep_alive()
                    foreign = await scan.foreign_among(self._database, [identity for _, identity in keys])
                    ours = frozenset(key for key in keys if key[1] not in foreign)
                    await counter.count(ours, live=False)

    async def _decide(self) -> None:
        """Who of the adopted documents has what only one can have: the slug of a course, say."""
        for contest in contenders(beside_counting(self._context, self._transactions)):
            async with aclosing(contest.missed()) as missed:
                async for keys in missed:
                    await self._context.keep_alive()
                    await contest.decide(keys)

    async def _save(self, steps: int, **counts: int) -> None:
        lists = {"page": list(self._place.page), "done": list(self._place.done)}
        place = {**asdict(self._place), **lists, "report": self._report.document()}
        await self._context.advance(steps, place, **counts)

    def _outcome(self) -> dict[str, JsonValue]:
        first = dict(self._place.first or {})
        return {**first, **self._report.document()}


def _unless_failed(
    outcome: DocumentAdopted | SetAside, failed: Mapping[str, str]
) -> DocumentAdopted | SetAside:
    """One whose stream could not be folded, or whose document the server refused, waits in the queue."""
    if isinstance(outcome, DocumentAdopted) and outcome.stream in failed:
        return SetAside(outcome.name, Reason.NOT_FOLDABLE, failed[outcome.stream])
    return outcome


async def _run(context: JobContext, arguments: AdoptArguments) -> Mapping[str, JsonValue]:
    async with context.transactions() as transactions:
        return await _Adopting(context, arguments, transactions).run()


def _differs(outcome: Mapping[str, JsonValue]) -> bool:
    """Records were set aside, or would be: somebody has to look at them."""
    return bool(outcome.get("set_aside"))


ADOPT = Job(
    "adopt",
    AdoptArguments,
    _run,
    about="make the platform's own records of learners the worker's",
    differs=_differs,
)
