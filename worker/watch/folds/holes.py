"""Holes in a stream's versions, filled with voids by whoever meets them: the fold goes on behind them."""

from collections.abc import Sequence

import structlog
from pymongo.errors import BulkWriteError

from worker.contract.identity import stream_kind
from worker.storage.documents import void_document
from worker.storage.errors import translated, write_failures
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.fold import Failure
from worker.watch.folds.plan import Run

log = structlog.get_logger(__name__)


async def fill_holes(given: FoldDependencies, runs: Sequence[Run]) -> None:
    """Put a void into each hole; the unique index decides between it and an insert in flight. May run twice."""
    now = given.clock.now()
    voids = [void_document(run.task.stream, version, now) for run in runs for version in run.missing]
    if not voids:
        return
    filled = len(voids)
    try:
        with translated():
            await given.database.course_events.insert_many(voids, ordered=False)
    except BulkWriteError as error:
        if not all(failure.duplicate for failure in write_failures(error)):
            raise
        filled -= len(error.details["writeErrors"])
    given.metrics.version_holes_filled_total.inc(filled)
    log.info(f"{given.projection.name}_holes_filled", holes=len(voids), by_us=filled)


def unfillable(run: Run) -> Failure | None:
    """Why a hole cannot be filled: nobody knows what an event of such a stream is about."""
    if not run.missing or stream_kind(run.task.stream) is not None:
        return None
    return Failure(run.task.stream, run.missing[0], "UnknownStream", "a hole in a stream of no known kind")
