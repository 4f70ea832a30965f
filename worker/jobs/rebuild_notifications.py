"""`rebuild notifications`: rows of the outbox that were lost; sent only after a dry run, by its name."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from worker.errors import Misconfigured
from worker.jobs.beside_counting import beside_counting
from worker.jobs.context import JobContext
from worker.jobs.estimate import Estimate
from worker.jobs.job import Job, Outcome
from worker.jobs.selected import STREAMS_A_STEP, SelectedStreams
from worker.storage.job_models import JobRun
from worker.storage.job_runs import find_run
from worker.storage.stream_selection import count_streams, selected_pages
from worker.storage.transactions import Transactions
from worker.watch.sums.row_rebuild import RowRebuild

# What writing a row takes, beside looking for it: for the estimate of a dry run.
_WRITTEN_PER_S = 1_000
# Who gives the word to send has looked at what it means today.
_SHOWN_WITHIN = timedelta(hours=24)


class RebuildNotifications(SelectedStreams):
    """Which streams' rows. `send`: the dry run that showed how many notifications are sent; none are without it."""

    send: str | None = Field(None, min_length=1)


async def rebuild_notifications(context: JobContext, arguments: RebuildNotifications) -> Outcome:
    """Walk over the selected streams, page by page.

    1. a page of streams  2. not more to be sent than the dry run showed  3. its rows, in transactions  4. save the
    place. A page that is done twice finds its rows there. A dry run counts what would be made, and sent with `send`.
    """
    database = context.database
    shown = None if arguments.send is None else await _shown(context, arguments)
    if context.checkpoint is None:
        await context.total(await count_streams(database, arguments.of))
    below, estimate = (context.checkpoint or {}).get("below"), Estimate(context)
    async with context.transactions() as transactions:
        send = context.dry_run or shown is not None
        rebuild = _rebuild(context, transactions, send=send, dry=context.dry_run)
        preview = _rebuild(context, transactions, send=True, dry=True)
        async for page in selected_pages(database, arguments.of, below=below, most=STREAMS_A_STEP):  # 1
            if shown is not None:  # 2
                would = (await preview(page.streams)).numbers
                _assert_shown(context.progress.counts.get("to_send", 0) + would["to_send"], shown)
            done = (await rebuild(page.streams)).numbers  # 3
            await context.advance(len(page.streams), {"below": page.below}, **done)  # 4
    lost = _lost(context.progress.counts)
    return {"lost": lost, **estimate.told(lost, _WRITTEN_PER_S)} if context.dry_run else {}


def _rebuild(context: JobContext, transactions: Transactions, *, send: bool, dry: bool) -> RowRebuild:
    settings = context.settings.counts
    given = beside_counting(context, transactions)
    return RowRebuild(given, settings.notify_within, send=send, dry=dry)


async def _shown(context: JobContext, arguments: RebuildNotifications) -> int:
    """How many notifications the named dry run said would be sent. Raises Misconfigured where it is none."""
    run = await find_run(context.database, str(arguments.send))
    if not isinstance(run, JobRun) or run.job != REBUILD_NOTIFICATIONS.name or not run.dry_run:
        raise Misconfigured(
            f"{arguments.send} is no dry run of rebuild notifications: `rebuild notifications --dry-run` makes one"
        )
    if run.status != "succeeded" or run.finished_at is None:
        raise Misconfigured(f"the dry run {run.id} did not come to its end: start it again")
    if run.finished_at < context.clock.now() - _SHOWN_WITHIN:
        raise Misconfigured(f"the dry run {run.id} is older than a day: make another one, and look at it")
    if run.selection != dict(arguments.selection):
        raise Misconfigured(f"the dry run {run.id} was of other streams: give the same selection")
    return run.counts.get("to_send", 0)


def _assert_shown(to_send: int, shown: int) -> None:
    if to_send > shown:
        raise Misconfigured(
            f"more would be sent than the {shown:,} that the dry run showed: make another one"
        )


def _lost(counts: Any) -> int:
    """How many rows are to be made."""
    return int(counts.get("made", 0))


REBUILD_NOTIFICATIONS = Job(
    name="rebuild-notifications",
    arguments=RebuildNotifications,
    run=rebuild_notifications,
    about="rows of the outbox that were lost",
    differs=lambda outcome: bool(outcome.get("lost")),
)
