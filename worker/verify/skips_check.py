"""Checks the decisions that versions are skipped: each is about the event that stands there, under its own key."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from projections.kinds import StreamProjection
from worker.contract.identity import stream_kind
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.skipped_versions import skipped_version_id
from worker.verify.findings import Fault, Finding, Kind, Run, broken, subject_of
from worker.verify.reading import pages, server_times

Decision = Mapping[str, Any]

# Decisions are dated by the clock of whoever made them.
_CLOCKS_DIFFER = timedelta(days=1)
_STREAM_INDEX = [("stream_id", 1), ("version", 1)]


async def check_skips(run: Run) -> None:
    """Put into the run's tally what is wrong with decisions; one that is wrong decides nothing."""
    database, tally = run.database, run.tally
    local, _ = await server_times(database)
    projections = {each.name: each for each in database.catalogue.streams}
    async for page in pages(database.skipped_versions):
        decisions = list(tally.well_formed(page))
        standing = [each for each in decisions if each["taken_back_at"] is None]
        tally.counts["skipped_versions"] += len(standing)
        for decision in standing:
            with tally.guard("skipped_versions", decision["_id"]):
                subject = subject_of("skipped_versions", decision)
                rules = _rules(decision, projections, local + _CLOCKS_DIFFER)
                tally.report(broken(Kind.SKIPPED_VERSION, Fault.DIFFERENT, subject, rules))
                if decision["event_id"] not in await _events_at(run, decision):
                    detail = f"version {decision['version']} is not that event's, which is not skipped"
                    tally.report([Finding(Kind.SKIPPED_VERSION, Fault.UNKNOWN, subject, detail)])


async def _events_at(run: Run, decision: Decision) -> list[Any]:
    """The id of the event that stands where the decision says; decisions are few."""
    named: Document = {"stream_id": decision["stream_id"], "version": decision["version"]}
    found = await reading.find(run.database.course_events, named, {"_id": 1}, hint=_STREAM_INDEX)
    return [each["_id"] for each in found.documents]


def _rules(
    decision: Decision, projections: Mapping[str, StreamProjection], horizon: datetime
) -> Iterator[tuple[str, bool]]:
    name, stream, version = decision["projection"], decision["stream_id"], decision["version"]
    projection = projections.get(name)
    folds = projection is not None and stream_kind(stream) is not None and projection.folds(stream)
    yield (
        "its key is not that of what it is about",
        decision["_id"] != skipped_version_id(name, stream, version),
    )
    yield "no projection of that name folds such a stream", not folds
    yield "a date in the future", decision["decided_at"] > horizon
