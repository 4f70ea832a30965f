"""The time a run is for, in ISO 8601: two spellings of the same time are one interval, and one key.

Days are days of UTC. Written are `2026-11-21/P1D`, `2026-11-21T06:00Z/PT1H` or `2026-11-21/2026-11-22`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import isodate

# A range of a year in hours is 8,784. More is a mistake, or another job.
MOST_INTERVALS = 10_000
_UNITS = (("D", 86_400), ("H", 3_600), ("M", 60), ("S", 1))
_WRITE = "write start/duration, like 2026-11-21/P1D, or start/end"
# isodate takes signs, fractions and alternative forms, too.
_DURATION = re.compile(r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?")


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` until before `end`, both aware and UTC. Its text is the same for all spellings."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        seconds = int((self.end - self.start).total_seconds())
        unit, size = next(each for each in _UNITS if seconds % each[1] == 0)
        number = seconds // size
        return f"{_spelt(self.start)}/P{number}D" if unit == "D" else f"{_spelt(self.start)}/PT{number}{unit}"


def parse_interval(text: str) -> Interval:
    """The interval that is written; raises ValueError with a sentence for people."""
    first, separator, last = text.strip().partition("/")
    if not separator:
        raise ValueError(f"'{text}' is no interval: {_WRITE}")
    start = parse_moment(first)
    end = _after(start, parse_duration(last)) if last.startswith("P") else parse_moment(last)
    if end <= start:
        raise ValueError(f"the interval {text} ends before it has begun")
    return Interval(start, end)


def parse_moment(text: str) -> datetime:
    """A date, which means its midnight, or a date and time, of UTC unless it says otherwise; whole seconds."""
    try:
        read = datetime.fromisoformat(text.strip())
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is no date: write 2026-11-21 or 2026-11-21T06:00Z") from None
    if read.microsecond:
        raise ValueError(f"'{text}': intervals begin and end at whole seconds")
    return read


def parse_duration(text: str) -> "Duration":
    """A length of time above nothing; months and years as long as the calendar says."""
    if not _DURATION.fullmatch(text.strip()):
        raise ValueError(f"'{text}' is no duration: write P1D, PT6H or P1M")
    read = isodate.parse_duration(text.strip(), as_timedelta_if_possible=False)
    duration = Duration(int(read.years) * 12 + int(read.months), read.tdelta)
    if not duration.months and not duration.time:
        raise ValueError(f"the duration {text} is no time at all")
    return duration


@dataclass(frozen=True, slots=True)
class Duration:
    """Months of the calendar, and time besides."""

    months: int
    time: timedelta


def split(start: datetime, end: datetime, every: Duration) -> Iterator[Interval]:
    """The intervals of a range one after another, the last one whole; raises ValueError where that does not fit.

    Each begins so many durations after the start, so that months of 31 days do not wander.
    """
    if end <= start:
        raise ValueError("the range ends before it has begun")
    began = start
    for number in range(1, MOST_INTERVALS + 1):
        ends = _after(start, Duration(every.months * number, every.time * number))
        if ends > end:
            raise ValueError(
                f"the range does not end with an interval: {_spelt(began)} or {_spelt(ends)} would"
            )
        yield Interval(began, ends)
        if ends == end:
            return
        began = ends
    raise ValueError(f"these are more than {MOST_INTERVALS:,} intervals")


def _after(start: datetime, duration: Duration) -> datetime:
    try:
        months: datetime = start + isodate.Duration(months=duration.months)
        return months + duration.time
    except (OverflowError, ValueError):
        raise ValueError("the interval ends beyond the year 9999") from None


def _spelt(moment: datetime) -> str:
    midnight = not (moment.hour or moment.minute or moment.second)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%dT%H:%M:%S}Z"
