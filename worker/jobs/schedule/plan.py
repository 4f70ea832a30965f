"""Which of the firings that are due is started, and which are dropped: decided in one pure function."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.jobs.schedule.entry import Entry
from worker.storage.schedule_positions import Position


@dataclass(frozen=True, slots=True)
class Decision:
    """The firing to start, if there is one, and what is dropped before it: missed, or over a run that went on.

    `dropped_until` is the last of those, None where nothing is dropped.
    """

    start: datetime | None = None
    missed: int = 0
    overlapped: int = 0
    dropped_until: datetime | None = None


def decide(
    entry: Entry, position: Position, due: Sequence[datetime], now: datetime, *, late_after: timedelta
) -> Decision:
    """What to do first about the firings `due`, which are in order and later than the position."""
    overlapped = [each for each in due if position.was_busy_at(each)]
    late = [each for each in due if now - each > late_after and each not in overlapped]
    in_time = due[-1:] if due and due[-1] not in (*late, *overlapped) else ()
    # Of several that came in time, too, the newest will do.
    waiting = overlapped[-1:] if entry.overlap == "wait" else ()
    kept = sorted([*_made_up_for(entry, late, newer=bool(in_time or waiting)), *waiting, *in_time])
    start = kept[0] if kept else None
    dropped = [each for each in due if start is None or each < start]
    overlaps = sum(each in overlapped for each in dropped)
    return Decision(start, len(dropped) - overlaps, overlaps, dropped[-1] if dropped else None)


def _made_up_for(entry: Entry, late: Sequence[datetime], *, newer: bool) -> Sequence[datetime]:
    """Those of the firings that nobody started in time which are started after all.

    A `newer` one that is started makes up for the others as well as the newest of them would.
    """
    match entry.misfire:
        case "once":
            return () if newer else late[-1:]
        case "all":
            return late[-entry.misfire_limit :]
        case "skip":
            return ()
