"""From what is measured to what comes: pure, and the formulas of docs/doctor.md in code.

All of it is linear: the events to come are like those that are stored, and come as fast as those of late.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

_DAY_S = 24 * 3_600.0


@dataclass(frozen=True, slots=True)
class CollectionSize:
    """One collection: `data_bytes` as documents say it, `storage_bytes` as it lies on the disk, without indexes.

    `documents` is None where the server does not count them without reading all: of a time series.
    """

    name: str
    database: str
    documents: int | None
    data_bytes: int
    storage_bytes: int
    indexes: Mapping[str, int]

    @property
    def index_bytes(self) -> int:
        return sum(self.indexes.values())

    @property
    def disk_bytes(self) -> int:
        """What it takes of the disk, indexes included."""
        return self.storage_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events happened within `span`."""

    events: int
    span: timedelta

    @property
    def per_day(self) -> float:
        return self.events * _DAY_S / self.span.total_seconds()


@dataclass(frozen=True, slots=True)
class Growth:
    """How the store grows. `kept_days` is after how many days rows of `series` expire, 0 for never."""

    events: int
    per_day: float
    collections: Sequence[CollectionSize]
    series: str
    kept_days: float

    @property
    def now_bytes(self) -> int:
        """What everything takes of the disk."""
        return sum(each.disk_bytes for each in self.collections)

    def bytes_per_event(self, collection: CollectionSize) -> float:
        """What each stored event has of this collection, on the disk; 0 while there is none."""
        return collection.disk_bytes / self.events if self.events else 0.0

    @property
    def bytes_of_an_event(self) -> float:
        """What each stored event takes of the disk, in all collections together."""
        return sum(map(self.bytes_per_event, self.collections))

    @property
    def bytes_per_day(self) -> float:
        """By how much the store grows in a day, while nothing expires."""
        return self.bytes_of_an_event * self.per_day

    def in_days(self, days: float) -> float:
        """Bytes on the disk after so many days: each collection grows by its own bytes per event.

        A time series whose rows expire stops growing when a row goes for each that comes.
        """
        return sum(
            self._series_in(each, days)
            if each.name == self.series and self.kept_days
            else each.disk_bytes + days * self._daily(each)
            for each in self.collections
        )

    def days_until(self, free_bytes: float) -> float:
        """After how many days the store has grown by so much; infinity for never.

        It grows by `bytes_per_day` until the time series is as large as it gets, then without that.
        """
        if free_bytes <= 0:
            return 0.0
        series = next((each for each in self.collections if each.name == self.series), None)
        daily, of_series = self.bytes_per_day, self._daily(series) if series is not None else 0.0
        if series is None or not self.kept_days or not of_series:
            return free_bytes / daily if daily else math.inf
        turn = max(0.0, self.kept_days - series.disk_bytes / of_series)
        if free_bytes <= daily * turn:
            return free_bytes / daily
        rest = daily - of_series
        return turn + (free_bytes - daily * turn) / rest if rest > 0 else math.inf

    def _daily(self, collection: CollectionSize) -> float:
        return self.bytes_per_event(collection) * self.per_day

    def _series_in(self, series: CollectionSize, days: float) -> float:
        largest = max(float(series.disk_bytes), self._daily(series) * self.kept_days)
        return min(series.disk_bytes + days * self._daily(series), largest)
