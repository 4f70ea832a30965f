"""`rebuild time-series`: the rows that events lack, stream by stream, by the one repairer."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from worker.jobs.context import JobContext
from worker.jobs.estimate import Estimate
from worker.jobs.job import Job, Outcome
from worker.jobs.locks import WRITES_ROWS
from worker.jobs.naming import named
from worker.jobs.selected import STREAMS_A_STEP, SelectedStreams
from worker.jobs.series import Named, SeriesMending
from worker.storage.stream_selection import count_streams, selected_pages
from worker.verify.findings import Finding, Kind
from worker.verify.run import Checks

# What writing a row takes, beside looking for it: for the estimate of a dry run.
_WRITTEN_PER_S = 2_000
# More findings than a step can have.
_ALL = 1_000_000


class RebuildTimeSeries(SelectedStreams):
    """Which streams' rows."""


async def rebuild_time_series(context: JobContext, arguments: RebuildTimeSeries) -> Outcome:
    """Walk over the selected streams, page by page.

    1. a page of streams  2. which of its rows are wrong, by the checks of `verify`  3. those that are ours to write
    are written, the others named  4. save the place. A page that is done twice finds its rows as they must be. A dry
    run counts as wrong what would be mended.
    """
    if context.checkpoint is None:
        await context.total(await count_streams(context.database, arguments.of))
    checkpoint = dict(context.checkpoint or {"below": None, "left": []})
    estimate = Estimate(context)
    async with SeriesMending.opened(context) as mending:
        below = checkpoint["below"]
        async for page in selected_pages(
            context.database, arguments.of, below=below, most=STREAMS_A_STEP
        ):  # 1
            events, wrong = await wrong_rows(context, page.streams)  # 2
            mended = await mending(wrong)  # 3
            left = named(checkpoint["left"], map(told, mended.left))
            checkpoint = {"below": page.below, "left": left}
            counts = {"events": events, **mended.numbers, "left": len(mended.left)}
            await context.advance(len(page.streams), checkpoint, **counts)  # 4
    to_mend = _mended(context.progress.counts)
    would_mend = {"wrong": to_mend} if context.dry_run else {}
    return {**would_mend, "left": checkpoint["left"], **estimate.told(to_mend, _WRITTEN_PER_S)}


async def wrong_rows(context: JobContext, streams: Sequence[str]) -> tuple[int, list[Finding]]:
    """How many events these streams have, and which of their rows are not what they must be."""
    checks = await Checks.opened(context.database, clock=context.clock, kept=_ALL)
    await checks.streams.streams(streams)
    result = checks.run.tally.result()
    return result.counts["events"], [each for each in result.findings if each.kind == Kind.ROW]


def told(each: Named) -> Mapping[str, JsonValue]:
    """What was left, for the outcome of a run: ids and a reason, and no payload."""
    finding = each.finding
    identity: Any = finding.about[1] if finding.about else None
    about = {} if identity is None else {"id": str(identity)}
    return {"kind": finding.name, "subject": finding.subject, **about, "reason": each.reason}


def _mended(counts: Mapping[str, int]) -> int:
    return sum(counts.get(name, 0) for name in ("inserted", "replaced", "removed"))


REBUILD_TIME_SERIES = Job(
    name="rebuild-time-series",
    arguments=RebuildTimeSeries,
    run=rebuild_time_series,
    lock=lambda _arguments: WRITES_ROWS,
    about="rows of the time series that events lack",
    differs=lambda outcome: bool(outcome.get("left") or outcome.get("wrong")),
)
