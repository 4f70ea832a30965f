"""`rebuild progress --into NAME`: documents built beside the live ones, and a report of how the two differ."""

import pkgutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from projections.kinds import StreamProjection
from projections.progress.projection import PROGRESS
from worker.errors import Misconfigured
from worker.jobs.context import JobContext
from worker.jobs.job import Job, Outcome
from worker.jobs.rebuild_progress import Report, added, stream_projections
from worker.jobs.selected import SelectedStreams, by_slot_group, folding, side_by_side
from worker.storage import job_runs
from worker.storage.stream_selection import count_streams, selected_pages
from worker.watch.folds.shadow import EXAMPLES, NAME, Difference, Shadow

Name = Annotated[str, Field(pattern=NAME)]
"""Under which documents are built: a part of the name of their collection."""


class RebuildInto(SelectedStreams):
    """Which streams of which projection, under which name; `fold` is another fold than the projection's own.

    It is written `package.module:NAME` and names a `StreamProjection`.
    """

    into: Name
    projection: str = PROGRESS.name
    fold: str | None = None
    parallel: int = Field(1, ge=1, le=16)


async def rebuild_into(context: JobContext, arguments: RebuildInto) -> Outcome:
    """Begin anew under the name, then page by page: fold, compare with the live document, store.

    1. drop what was built there before  2. a page of streams  3. their documents  4. save the place. A page that is
    built twice stands there once. Live documents are only read.
    """
    shadow = shadow_of(context, arguments)
    checkpoint = context.checkpoint
    if checkpoint is None:
        await shadow.drop()  # 1
        await context.total(await count_streams(context.database, arguments.of))
    else:
        await _assert_ours(context, arguments.into)
    report = Report(dict((checkpoint or {}).get("report", {})))
    below = (checkpoint or {}).get("below")
    async for page in selected_pages(context.database, arguments.of, below=below):  # 2
        own = filter(shadow.projection.folds, page.streams)
        parts = by_slot_group(own, arguments.parallel)
        counts: dict[str, int] = {}
        for difference in await side_by_side(shadow.build(part) for part in parts):  # 3
            counts = added(counts, _counts(difference))
            _note(report, difference)
        await context.advance(
            len(page.streams), {"below": page.below, "report": report.fields}, **counts
        )  # 4
    differing = context.progress.counts.get("differing", 0)
    return {"collection": shadow.collection.name, "differing": differing, **report.fields}


async def _assert_ours(context: JobContext, name: str) -> None:
    """Raise Misconfigured where another run has built under this name since: both would stand there mixed."""
    newest = await job_runs.newest_asked(context.database, REBUILD_INTO.name, {"into": name})
    if newest is not None and newest.id != context.run_id:
        raise Misconfigured(
            f"{newest.id} has begun anew under the name {name} since: end this run by `sevenp-worker jobs cancel "
            f"{context.run_id}`, and the same command begins anew, too"
        )


def shadow_of(context: JobContext, arguments: RebuildInto) -> Shadow:
    """What builds as it was asked for. Raises Misconfigured for a projection or a fold that is none."""
    [projection] = stream_projections(context.database, arguments.projection)
    given = folding(context, projection, context.settings.progress.code_version)
    return Shadow(given, _made_by(projection, arguments.fold), arguments.into)


def _made_by(projection: StreamProjection, fold: str | None) -> StreamProjection:
    """The projection, or another value that makes its documents."""
    if fold is None:
        return projection
    try:
        found = pkgutil.resolve_name(fold)
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(
            f"there is no fold {fold!r} ({error}): write package.module:NAME of what can be imported"
        ) from error
    if not isinstance(found, StreamProjection) or found.about != projection.about:
        raise Misconfigured(f"{fold} is no StreamProjection of the streams that {projection.name} folds")
    if [each.collection for each in found.targets] != [each.collection for each in projection.targets]:
        raise Misconfigured(f"{fold} makes documents of other collections than {projection.name}")
    return found


def _counts(difference: Difference) -> dict[str, int]:
    return {
        "streams": difference.streams,
        "events": difference.events,
        "differing": difference.differing,
        "missing": difference.missing,
        "failed": len({failure.stream for failure in difference.failed}),
    }


def _note(report: Report, difference: Difference) -> None:
    report.add_paths(difference.paths)
    report.name("failed", [failure.stream for failure in difference.failed])
    samples: Sequence[Mapping[str, Any]] = report.fields.get("samples", [])
    if difference.examples and len(samples) < EXAMPLES:
        report.fields["samples"] = [*samples, *difference.examples][:EXAMPLES]


def lock_of(name: str) -> str:
    """What must not go on twice at a time: building under a name, and promoting what is built there."""
    return f"into-{name}"


REBUILD_INTO = Job(
    name="rebuild-into",
    arguments=RebuildInto,
    run=rebuild_into,
    lock=lambda arguments: lock_of(arguments.into),
    about="documents built beside the live ones, and how the two differ",
    differs=lambda outcome: bool(outcome.get("failed_streams") or outcome.get("differing")),
    has_dry_run=False,
)
