"""Checks that all stored documents agree, each kind of document by a check of its own; right while the worker writes.

Every document is compared with what it follows from, up to its own version. Whatever looks wrong is read a second
time, in an order in which work in progress cannot look wrong, before it is reported.
"""

from collections.abc import Callable
from datetime import timedelta

from projections.counts.projection import COUNTS
from worker.storage.database import Database
from worker.storage.expiry import kept_rows
from worker.timing import Clock, SystemClock
from worker.verify.counts_check import check_counts, was_counted
from worker.verify.dead_letters_check import check_dead_letters, restarted_partitions
from worker.verify.findings import Grace, ProjectionCounts, Run, Tally, Verification
from worker.verify.leases_check import check_leases
from worker.verify.models_check import check_model
from worker.verify.queue_check import check_queue
from worker.verify.sources import Sources
from worker.verify.streams_check import StreamsCheck
from worker.verify.sums_check import check_sum

# An event is stored seconds before its row and, when another writer was faster, after a later version. A
# worker that died in between is back and has redelivered within a minute.
YOUNG = timedelta(seconds=60)
# What waits longer is not about to be done: somebody has to look, whether the system is at rest or not.
OVERDUE = timedelta(hours=1)
# Workers stamp events by their own clocks.
_CLOCKS_DIFFER = timedelta(days=1)
_SYSTEM_CLOCK = SystemClock()


async def verify(
    database: Database,
    *,
    quiescent: bool = False,
    clock: Clock = _SYSTEM_CLOCK,
    on_progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check everything stored under the database's prefix; only reads.

    `quiescent` says that nothing is being written and everything was drained: then a document that is missing
    or behind, a missing row, a hole and what is not counted are findings however young they are; else only those that
    have waited for `OVERDUE`. A stream in quarantine is never one for being behind. Statistics that seem wrong are
    looked at again after some seconds. `on_progress` gets the number of events checked so far.

    In memory is one page of events or of other documents (some MB, or one large document) and, of the longest stream,
    about 300 bytes an event. A document that cannot be read is a finding. Raises `Retryable` while MongoDB is away.
    """
    now, tally = clock.now(), Tally()
    tally.by_projection |= {name: ProjectionCounts() for name in database.catalogue.names}
    grace = Grace(quiescent, young_since=now - YOUNG, overdue_before=now - OVERDUE)
    run = Run(database, tally, clock, grace)
    sources = Sources(await restarted_partitions(database))
    kept = await kept_rows(database)
    streams = StreamsCheck(run, now + _CLOCKS_DIFFER, sources, kept, on_progress or (lambda _: None))
    # 1. each stream's events against its rows and its document
    await streams.streams()
    # 2. rows of learners and courses that have no events
    await streams.rows_without_stream()
    # 3. documents that have no events
    await streams.documents()
    # 4. what could not be stored, and what waits for another attempt
    await check_dead_letters(run)
    await check_queue(run)
    # 5. leases and positions
    await check_leases(run)
    # 6. what was counted: projections, statistics, outbox and billing
    for projection in database.catalogue.sums:
        if projection.name != COUNTS.name:
            await check_sum(run, projection)
        elif await was_counted(database):
            await check_counts(run)
    # 7. views
    for model in database.catalogue.models:
        await check_model(run, model)
    return tally.result()
