"""How long the server keeps what expires. Durations are changed in place, and nothing else about an index is.

Rows of the time series that expired are not missing. Which ones they are follows from what the collection says now;
since it may have said something else before, a document of `system_settings` keeps the latest date that was reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from projections.kinds import Index
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.errors import translated

SERIES = "user_interactions"
_EXPIRED_BEFORE = "worker_time_series_expired_before"
_DAY_S = 24 * 3_600
# Who asks has another clock than the server that removes.
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Duration:
    """For how long documents of one collection are to be kept, and for how long they are; 0 is for ever.

    `index` is the name of the index by which they expire, None for a time series.
    """

    collection: str
    index: str | None
    wanted_s: int
    found_s: int

    @property
    def what(self) -> str:
        return "retention" if self.index is None else f"index {self.index}"

    def command(self) -> Document:
        """Which makes the server keep them so long; it may be repeated."""
        if self.index is None:
            return {"collMod": self.collection, "expireAfterSeconds": self.wanted_s or "off"}
        return {
            "collMod": self.collection,
            "index": {"name": self.index, "expireAfterSeconds": self.wanted_s},
        }


def duration_of_index(index: Index, found: Mapping[str, Any] | None) -> Duration | None:
    """What of an index is only another duration.

    Without seconds, or with 0 of them (the document itself says when), an index has another meaning.
    """
    wanted_s, found_s = index.options.get("expireAfterSeconds"), (found or {}).get("expireAfterSeconds")
    if not wanted_s or not found_s or wanted_s == found_s:
        return None
    return Duration(index.collection, index.name, int(wanted_s), int(found_s))


def duration_of_series(name: str, wanted_s: int | None, options: Mapping[str, Any]) -> Duration | None:
    """What differs where somebody chose how long rows are kept."""
    found_s = _seconds(options)
    return None if wanted_s is None or wanted_s == found_s else Duration(name, None, wanted_s, found_s)


def in_days(seconds: int) -> str:
    """For people: `7 days`, or `for ever`."""
    if not seconds:
        return "for ever"
    days = seconds / _DAY_S
    return f"{days:g} day{'' if days == 1 else 's'}"


async def remember_expired(database: Database, kept_s: int) -> None:
    """Keep that rows older than this may be gone, whatever is chosen from now on; call before it is changed."""
    if not kept_s:
        return
    reached = {"$max": ["$value", {"$subtract": ["$$NOW", kept_s * 1_000]}]}
    document = {"key": _EXPIRED_BEFORE, "environment": "production", "value": reached}
    with translated():
        await database.system_settings.update_one({"_id": _EXPIRED_BEFORE}, [{"$set": document}], upsert=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """Which rows of the time series may be gone: those before `expired_before`, and those older than `kept_s`."""

    kept_s: int
    expired_before: datetime | None

    def may_be_gone(self, timestamp: object, now: datetime) -> bool:
        """Whether the row of this time may have expired by `now`."""
        if not isinstance(timestamp, datetime):
            return False
        if self.expired_before is not None and timestamp < self.expired_before:
            return True
        return self.kept_s > 0 and now - timestamp > timedelta(seconds=self.kept_s) - _CLOCKS_DIFFER


async def kept_rows(database: Database) -> Kept:
    """As the server has it now, and had it before."""
    with translated():
        listed = await driver.list_collections(database.home(SERIES), SERIES)
        remembered = await database.system_settings.find_one({"_id": _EXPIRED_BEFORE})
    value = (remembered or {}).get("value")
    kept_s = _seconds(listed[0].get("options", {})) if listed else 0
    return Kept(kept_s, value if isinstance(value, datetime) else None)


def _seconds(options: Mapping[str, Any]) -> int:
    return int(options.get("expireAfterSeconds") or 0)
