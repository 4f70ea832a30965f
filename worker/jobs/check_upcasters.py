"""`check-upcasters`: every stored event through the contract of this code, before it is deployed. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from pydantic import JsonValue

from worker.jobs.context import JobContext
from worker.jobs.job import Job, Outcome
from worker.jobs.selected import SelectedStreams
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.stream_selection import STREAMS_PER_PAGE, count_streams, selected_pages
from worker.verify.upcasting import UNREADABLE, Contract, Problem, Sort, is_checked, problem_of, sort_of

# In memory at once, decoded.
_PAGE_EVENTS = 1_000
_PAGE_BYTES = 4_000_000
# Of each kind of failure so many events are named, and so many kinds are told apart.
_SAMPLES = 5
_MOST_KINDS = 200


class CheckUpcasters(SelectedStreams):
    """Which streams; without a selection all of them."""


class Report:
    """What a run has found: counts by kind of event, and each kind of failure with some events that have it.

    Kept in the checkpoint, so that a later attempt goes on with it.
    """

    def __init__(self, kept: Mapping[str, Any] | None) -> None:
        kept = kept or {}
        self._checked = {Sort(*row[:3]): row[3] for row in kept.get("checked", ())}
        self._failures: dict[tuple[Sort, Problem], tuple[int, list[JsonValue]]] = {
            (Sort(*row[:3]), Problem(*row[3:6])): (row[6], row[7]) for row in kept.get("failures", ())
        }
        self.further = int(kept.get("further", 0))

    def take(self, sort: Sort, problem: Problem | None, event: Mapping[str, Any]) -> bool:
        """One more event; True if it would fail. Kinds of failures beyond the most are only counted."""
        self._checked[sort] = self._checked.get(sort, 0) + 1
        if problem is None:
            return False
        if (sort, problem) not in self._failures and len(self._failures) >= _MOST_KINDS:
            self.further += 1
            return True
        number, samples = self._failures.get((sort, problem), (0, []))
        if len(samples) < _SAMPLES:
            place = {"stream": str(event.get("stream_id")), "version": event.get("version")}
            samples = [*samples, {"event": _id_of(event), **place}]
        self._failures[sort, problem] = number + 1, samples
        return True

    def kept(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        failures = [
            [*astuple(sort), *astuple(problem), number, samples]
            for (sort, problem), (number, samples) in self._failures.items()
        ]
        checked = [[*astuple(sort), number] for sort, number in self._checked.items()]
        return {"checked": checked, "failures": failures, "further": self.further}

    def outcome(self) -> Outcome:
        """Counts by family, type and version, and the failures, the most frequent first."""
        failed: dict[Sort, int] = {}
        for (sort, _), (number, _) in self._failures.items():
            failed[sort] = failed.get(sort, 0) + number
        events: list[JsonValue] = [
            {**_named(sort), "events": number, "failed": failed.get(sort, 0)}
            for sort, number in sorted(self._checked.items(), key=lambda each: astuple(each[0]))
        ]
        failures: list[JsonValue] = [
            {
                **_named(sort),
                "reason": problem.reason,
                "field": problem.field,
                "message": problem.message,
                "events": number,
                "samples": samples,
            }
            for (sort, problem), (number, samples) in sorted(
                self._failures.items(), key=lambda each: -each[1][0]
            )
        ]
        return {"events": events, "failures": failures, "further_failures": self.further}


def check_upcasters(contract: Contract | None = None) -> Job[CheckUpcasters]:
    """The job for a contract; without one, that of this code and of the folds that are registered."""

    async def run(context: JobContext, arguments: CheckUpcasters) -> Outcome:
        """Walk the selected streams. 1. a page of streams  2. their events, each looked at  3. save the place."""
        chosen = contract or _contract_of(context.database)
        if context.checkpoint is None:
            await context.total(await count_streams(context.database, arguments.of))
        kept = context.checkpoint or {}
        report, below = Report(kept.get("report")), kept.get("below")
        pages = selected_pages(context.database, arguments.of, below=below, most=STREAMS_PER_PAGE)
        async for page in pages:  # 1
            counts = await _check(context, page.streams, chosen, report)  # 2
            checkpoint = {"below": page.below, "report": report.kept()}
            await context.advance(len(page.streams), checkpoint, **counts)  # 3
        return report.outcome()

    return Job(
        name="check-upcasters",
        arguments=CheckUpcasters,
        run=run,
        changes=False,
        about="every stored event through the contract of this code: what would fail",
        differs=lambda outcome: bool(outcome["failures"]),
    )


async def _check(
    context: JobContext, streams: Sequence[str], contract: Contract, report: Report
) -> dict[str, int]:
    """Look at all events of these streams; returns what to add to the run's counts."""
    counts = {"events": 0, "failed": 0, "not_checked": 0}
    events, query = context.database.course_events, {"stream_id": {"$in": list(streams)}}
    async for page in reading.pages(events, query, most=_PAGE_EVENTS, max_bytes=_PAGE_BYTES):
        await context.keep_alive()
        counts["events"] += len(page.documents) + len(page.unreadable)
        for event in page.documents:
            if not is_checked(event):
                counts["not_checked"] += 1
            else:
                counts["failed"] += report.take(sort_of(event, contract), problem_of(event, contract), event)
        for each in page.unreadable:
            problem = Problem("unreadable", message=each.reason)
            counts["failed"] += report.take(UNREADABLE, problem, {"_id": each.id})
    return counts


def _contract_of(database: Database) -> Contract:
    streams = database.catalogue.streams
    paths: dict[tuple[str, ...] | None, list[Sequence[str]]] = {}
    for each in streams:
        paths.setdefault(each.about, []).append(each.event_paths)
        if each.parts is not None:
            paths[each.about].append(each.parts.event_paths)
    return Contract(event_paths={about: tuple(dict.fromkeys(some)) for about, some in paths.items()})


def _id_of(event: Mapping[str, Any]) -> str:
    return reading.name_of(event.get("_id"))


def _named(sort: Sort) -> dict[str, Any]:
    return {"family": sort.family, "event_type": sort.event_type, "schema_version": sort.version}


CHECK_UPCASTERS = check_upcasters()
