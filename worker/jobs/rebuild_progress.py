"""`rebuild progress`: the documents of stream projections from all of their events, in place, or only compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from projections.kinds import StreamProjection
from worker.errors import Misconfigured
from worker.jobs.context import JobContext
from worker.jobs.estimate import Estimate
from worker.jobs.job import Job, Outcome
from worker.jobs.naming import name_streams
from worker.jobs.selected import STREAMS_A_STEP, SelectedStreams, by_slot_group, folding, side_by_side
from worker.storage.database import Database
from worker.storage.stream_selection import count_streams, selected_pages
from worker.watch.folds.rebuild import Compared, DocumentRebuild

# What it takes, beside reading and folding, to replace a document: for the estimate of a dry run.
_REPLACED_PER_S = 3_000


class RebuildProgress(SelectedStreams):
    """Which streams; of all stream projections, or of the one named. `parallel` parts are worked on side by side."""

    projection: str | None = None
    parallel: int = Field(1, ge=1, le=16)


async def rebuild_progress(context: JobContext, arguments: RebuildProgress) -> Outcome:
    """Walk over the selected streams, page by page; of each page every part of the slots is a task of its own.

    1. a page of streams  2. their documents, replaced where they differ  3. save the place. A page that is done twice
    finds its documents as they must be.
    """
    projections = stream_projections(context.database, arguments.projection)
    walk = _Walk(context, projections, arguments.parallel)
    if context.checkpoint is None:
        await context.total(await count_streams(context.database, arguments.of))
    report = Report(dict((context.checkpoint or {}).get("report", {})))
    below = (context.checkpoint or {}).get("below")
    estimate = Estimate(context)
    pages = selected_pages(context.database, arguments.of, below=below, most=STREAMS_A_STEP)
    async for page in pages:  # 1
        counts = await (walk.compare if context.dry_run else walk.rebuild)(page.streams, report)  # 2
        checkpoint = {"below": page.below, "report": report.fields}
        await context.advance(len(page.streams), checkpoint, **counts)  # 3
    return {**report.fields, **estimate.told(context.progress.counts.get("differing", 0), _REPLACED_PER_S)}


def stream_projections(database: Database, name: str | None) -> list[StreamProjection]:
    """All stream projections, or the one of that name. Raises Misconfigured where there is none."""
    known = database.catalogue.streams
    found = [each for each in known if name in (None, each.name)]
    if not found:
        names = ", ".join(each.name for each in known)
        raise Misconfigured(f"no stream projection has the name {name!r}; there is {names}")
    return found


def document_rebuild(context: JobContext, projection: StreamProjection) -> DocumentRebuild:
    """What makes the documents of a projection again, for a run."""
    return DocumentRebuild(folding(context, projection, context.settings.progress.code_version))


class _Walk:
    def __init__(self, context: JobContext, projections: Sequence[StreamProjection], parallel: int) -> None:
        self._parallel = parallel
        self._rebuilds = {each.name: (each, document_rebuild(context, each)) for each in projections}

    async def rebuild(self, streams: Sequence[str], report: "Report") -> dict[str, int]:
        """Replace what differs; returns what to add to the run's counts."""
        counts: dict[str, int] = {}
        for projection, rebuild in self._rebuilds.values():
            parts = by_slot_group(filter(projection.folds, streams), self._parallel)
            for done in await side_by_side(rebuild(part) for part in parts):
                counts = added(counts, done.counts())
                report.name("failed", [failure.stream for failure in done.failed])
                report.name("replaced", sorted(done.done.changed))
        return counts

    async def compare(self, streams: Sequence[str], report: "Report") -> dict[str, int]:
        """Only look; returns what to add to the run's counts."""
        counts: dict[str, int] = {}
        for projection, rebuild in self._rebuilds.values():
            parts = by_slot_group(filter(projection.folds, streams), self._parallel)
            for found in await side_by_side(rebuild.compare(part) for part in parts):
                counts = added(counts, _counts(found))
                report.add_paths(found.paths)
                report.name("failed", [failure.stream for failure in found.failed])
                report.name("differing", found.examples)
        return counts


class Report:
    """What a run says of single documents: kept in its checkpoint, so that a later attempt goes on with it."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = dict(fields)

    def name(self, what: str, streams: Sequence[str]) -> None:
        """Name some streams, as `<what>_streams`."""
        name_streams(self.fields, what, streams)

    def add_paths(self, paths: Mapping[str, int]) -> None:
        """Count documents by the paths that differ."""
        if paths:
            self.fields["paths"] = added(self.fields.get("paths", {}), paths)


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Both, name by name."""
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}


def _counts(found: Compared) -> dict[str, int]:
    return {
        "streams": found.streams,
        "events": found.events,
        "differing": found.differing,
        "missing": found.missing,
        "behind": found.behind,
        "failed": len({failure.stream for failure in found.failed}),
    }


REBUILD_PROGRESS = Job(
    name="rebuild-progress",
    arguments=RebuildProgress,
    run=rebuild_progress,
    about="documents of stream projections from all of their events",
    differs=lambda outcome: bool(outcome.get("failed_streams") or outcome.get("differing_streams")),
)
