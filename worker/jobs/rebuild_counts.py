"""`rebuild counts`: sums, statistics and read models from what they follow from, in place, or only tried."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from bson import ObjectId

from worker.errors import Misconfigured
from worker.jobs.beside_counting import beside_counting, refold_for_counting
from worker.jobs.context import JobContext
from worker.jobs.estimate import Estimate
from worker.jobs.job import Job, Outcome
from worker.jobs.selected import STREAMS_A_STEP, SelectedStreams
from worker.storage.stream_selection import count_streams, selected_pages
from worker.storage.transactions import Transactions
from worker.watch.recounting import Place, Recount, Recounted, counted_names


class RebuildCounts(SelectedStreams):
    """Which streams' sums and views; of all sums and read models, or of the one named."""

    projection: str | None = None


async def rebuild_counts(context: JobContext, arguments: RebuildCounts) -> Outcome:
    """Walk over everything that is counted and shown, or over what the selected streams are a part of.

    1. one step, in transactions like those of live counting  2. save the place. A step that is done twice changes
    nothing. A dry run gives up each transaction at its end: it counts what would be written, and what one step
    corrects another one may count again.
    """
    async with context.transactions() as transactions:
        recount = _recount(context, arguments.projection, transactions)
        if context.checkpoint is None:
            await context.total(await _total(context, arguments))
        everything, estimate = arguments.of.everything, Estimate(context)
        steps = _everything(context, recount) if everything else _selected(context, arguments, recount)
        async for checkpoint, done in steps:  # 1
            await context.advance(done.documents, checkpoint, **_counts(done))  # 2
        return _outcome(context, estimate)


def _recount(context: JobContext, name: str | None, transactions: Transactions) -> Recount:
    database, settings = context.database, context.settings.counts
    known = counted_names(database.catalogue)
    if name is not None and name not in known:
        raise Misconfigured(f"no sum and no read model has the name {name!r}; there is {', '.join(known)}")
    given = beside_counting(context, transactions, trial=context.dry_run)
    wanted = known if name is None else [name]
    refold = None if context.dry_run else refold_for_counting(context)
    return Recount(given, settings.notify_within, wanted, refold)


async def _total(context: JobContext, arguments: RebuildCounts) -> int | None:
    """How many streams are to be counted again; of everything, other documents are looked at as well."""
    return None if arguments.of.everything else await count_streams(context.database, arguments.of)


Steps = AsyncGenerator[tuple[Mapping[str, Any], Recounted]]


async def _everything(context: JobContext, recount: Recount) -> Steps:
    async for place, done in recount.everything(_place(context.checkpoint)):
        yield (
            {
                "projection": place.projection,
                "collection": place.collection,
                "last": None if place.last is None else str(place.last),
            },
            done,
        )


async def _selected(context: JobContext, arguments: RebuildCounts, recount: Recount) -> Steps:
    """First what the selection names by itself, then the streams."""
    below = (context.checkpoint or {}).get("below")
    if context.checkpoint is None:
        yield {"below": None}, await recount.named(arguments.of)
    pages = selected_pages(context.database, arguments.of, below=below, most=STREAMS_A_STEP)
    async for page in pages:
        yield {"below": page.below}, await recount.streams(page.streams)


def _place(checkpoint: Mapping[str, Any] | None) -> Place | None:
    if checkpoint is None:
        return None
    last = checkpoint["last"]
    return Place(checkpoint["projection"], checkpoint["collection"], None if last is None else ObjectId(last))


def _outcome(context: JobContext, estimate: Estimate) -> Outcome:
    """Of a dry run how many documents would be written, and about how long that takes."""
    counts = context.progress.counts
    if not context.dry_run:
        return {"quarantined": counts.get("failed", 0)}
    differing = sum(number for name, number in counts.items() if name not in ("documents", "failed"))
    return {"differing": differing, **estimate.told(0, 1)}  # looking is doing it, and giving it up


def _counts(done: Recounted) -> dict[str, int]:
    """By the names they have wherever they are shown: what was written, collection by collection."""
    return {"documents": done.documents, "failed": done.failed, **done.changed}


REBUILD_COUNTS = Job(
    name="rebuild-counts",
    arguments=RebuildCounts,
    run=rebuild_counts,
    about="sums, statistics and read models from what they follow from",
    differs=lambda outcome: bool(outcome.get("quarantined") or outcome.get("differing")),
)
