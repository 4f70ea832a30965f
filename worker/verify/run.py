"""Checks that all stored documents agree, each kind of document by a check of its own; right while the worker writes.

Every document is compared with what it follows from, up to its own version. Whatever looks wrong is read a second
time, in an order in which work in progress cannot look wrong, before it is reported.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Self

from projections.counts.projection import COUNTS
from worker.storage.database import Database
from worker.storage.expiry import kept_rows
from worker.storage.known_lists import KnownLists
from worker.timing import Clock, SystemClock
from worker.verify.contests_check import check_contest
from worker.verify.counts_check import check_counts, was_counted
from worker.verify.dead_letters_check import check_dead_letters, restarted_partitions
from worker.verify.findings import FINDINGS_KEPT, Grace, ProjectionCounts, Run, Tally, Verification
from worker.verify.leases_check import check_leases
from worker.verify.models_check import check_model
from worker.verify.parts_check import check_parts
from worker.verify.queue_check import check_queue
from worker.verify.skips_check import check_skips
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
    kept: int = FINDINGS_KEPT,
) -> Verification:
    """Check everything stored under the database's prefix; only reads. So many findings are `kept`, all are counted.

    `quiescent` says that nothing is being written and everything was drained: then a document that is missing
    or behind, a missing row, a hole and what is not counted are findings however young they are; else only those that
    have waited for `OVERDUE`. A stream in quarantine is never one for being behind. Statistics that seem wrong are
    looked at again after some seconds. `on_progress` gets the number of events checked so far.

    In memory is one page of events or of other documents (some MB, or one large document) and, of the longest stream,
    about 300 bytes an event. A document that cannot be read is a finding. Raises `Retryable` while MongoDB is away.
    """
    checks = await Checks.opened(
        database, quiescent=quiescent, clock=clock, on_progress=on_progress, kept=kept
    )
    await checks.streams.streams()
    for phase in checks.further():
        await phase.check()
    return checks.run.tally.result()


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the checks that follow those of the streams."""

    name: str
    check: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Checks:
    """All checks of one run, for whoever makes them one after the other: `verify`, or a scrubber in its own time."""

    run: Run
    streams: StreamsCheck

    @classmethod
    async def opened(
        cls,
        database: Database,
        *,
        quiescent: bool = False,
        clock: Clock = _SYSTEM_CLOCK,
        on_progress: Callable[[int], None] | None = None,
        kept: int = FINDINGS_KEPT,
        sources: Sources | None = None,
    ) -> Self:
        """Checks with nothing found yet. `sources` are those of the streams checked before, if there are any."""
        # What this process has read before says nothing of what is stored now.
        database = replace(database, known_lists=KnownLists())
        now, tally = clock.now(), Tally(kept=kept)
        tally.by_projection |= {name: ProjectionCounts() for name in database.catalogue.names}
        grace = Grace(quiescent, young_since=now - YOUNG, overdue_before=now - OVERDUE)
        run = Run(database, tally, clock, grace)
        known = sources or Sources(await restarted_partitions(database))
        rows = await kept_rows(database)
        return cls(run, StreamsCheck(run, now + _CLOCKS_DIFFER, known, rows, on_progress or (lambda _: None)))

    def further(self) -> list[Phase]:
        """What is checked after each stream's events against its rows and its document.

        1. events of no stream, and rows of learners and courses that have no events  2. documents that have none, and
        the parts that documents name
        3. what could not be stored, what waits for another attempt, what is left out  4. leases and positions
        5. what was counted: projections, statistics, outbox  6. views  7. contests
        """
        run, catalogue = self.run, self.run.database.catalogue
        sums = [
            Phase(
                each.name, self._check_counts if each.name == COUNTS.name else partial(check_sum, run, each)
            )
            for each in catalogue.sums
        ]
        return [
            Phase("events", self.streams.events_without_stream),  # 1
            Phase("rows", self.streams.rows_without_stream),
            Phase("documents", self.streams.documents),  # 2
            *(
                Phase(f"{each.name} parts", partial(check_parts, run, each, each.parts))
                for each in catalogue.streams
                if each.parts is not None
            ),
            Phase("dead letters", partial(check_dead_letters, run)),  # 3
            Phase("queue", partial(check_queue, run)),
            Phase("skipped versions", partial(check_skips, run)),
            Phase("leases", partial(check_leases, run)),  # 4
            *sums,  # 5
            *(Phase(each.name, partial(check_model, run, each)) for each in catalogue.models),  # 6
            *(Phase(each.name, partial(check_contest, run, each)) for each in catalogue.contests),  # 7
        ]

    async def _check_counts(self) -> None:
        if await was_counted(self.run.database):
            await check_counts(self.run)
