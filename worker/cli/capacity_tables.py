"""The capacity report as tables for people and as JSON for scripts."""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console

from worker.cli.tables import print_table
from worker.operate.capacity.forecast import CollectionSize, Growth, Rate
from worker.operate.capacity.measure import DatabaseSize, Measured
from worker.operate.capacity.oplog import Oplog

_MONTH, _YEAR = 30, 365


def print_capacity(measured: Measured, disk_bytes: int | None) -> None:
    """The store, its databases, collections and indexes, then the forecast."""
    growth = measured.growth
    print_table(_store(measured), ("store", "value"))
    print_table(
        [
            (each.name, f"{each.collections:,}", f"{each.documents:,}", *_sizes(each))
            for each in measured.databases
        ],
        ("database", "collections", "documents", "data", "on disk", "indexes"),
    )
    print_table(
        [_collection(growth, each) for each in measured.collections if each.disk_bytes],
        ("collection", "documents", "data", "on disk", "indexes", "bytes per event"),
    )
    print_table(_indexes(measured), ("collection", "index", "size", "used", "since"))
    print_table(_forecast(measured, disk_bytes), ("forecast", "value"))
    if isinstance(measured.rate, str):
        Console(soft_wrap=True).print(f"Nothing is foretold: {measured.rate}.", style="yellow", markup=False)


def capacity_json(measured: Measured, disk_bytes: int | None) -> dict[str, Any]:
    """Plain JSON values; sizes are bytes, and null is what is not known, or never."""
    growth, free = measured.growth, _free(measured, disk_bytes)
    rate = measured.rate if isinstance(measured.rate, Rate) else None
    days = math.inf if free is None else growth.days_until(free)
    return {
        "events": measured.events,
        "events_per_day": rate and rate.per_day,
        "measured_over_hours": rate and rate.span.total_seconds() / 3_600,
        "bytes_per_event": growth.bytes_of_an_event,
        "bytes_per_day": growth.bytes_per_day,
        "oplog_hours": measured.oplog.hours if isinstance(measured.oplog, Oplog) else None,
        "databases": [asdict(each) for each in measured.databases],
        "collections": [
            {**asdict(each), "index_bytes": each.index_bytes, "bytes_per_event": growth.bytes_per_event(each)}
            for each in measured.collections
        ],
        "index_uses": [
            {
                "collection": use.collection,
                "index": use.name,
                "uses": use.uses,
                "since": use.since.isoformat(),
            }
            for use in measured.index_uses
        ],
        "forecast": {
            "bytes_now": growth.now_bytes,
            "bytes_in_30_days": growth.in_days(_MONTH),
            "bytes_in_365_days": growth.in_days(_YEAR),
            "free_bytes": free,
            "days_until_full": None if math.isinf(days) else days,
        },
    }


def size(number: float) -> str:
    """In the unit that gives one to four digits before the point: `1.5 MiB`."""
    shown = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(shown) < 1_024:
            return f"{shown:,.1f}".removesuffix(".0") + f" {unit}"
        shown /= 1_024
    return f"{shown:,.1f} TiB"


def _store(measured: Measured) -> list[tuple[str, str]]:
    growth, rate, oplog = measured.growth, measured.rate, measured.oplog
    per_day = rate if isinstance(rate, str) else f"{rate.per_day:,.0f}, measured over {_hours(rate)} hours"
    return [
        ("stored events", f"{measured.events:,}"),
        ("events per day", per_day),
        ("bytes per event", f"{growth.bytes_of_an_event:,.0f} on the disk, indexes included"),
        ("growth per day", size(growth.bytes_per_day)),
        ("oplog", f"{oplog.hours:,.1f} hours ({oplog.words})" if isinstance(oplog, Oplog) else oplog),
        ("time series kept", f"{measured.kept_days:g} days" if measured.kept_days else "for ever"),
    ]


def _collection(growth: Growth, each: CollectionSize) -> tuple[str, ...]:
    documents = "" if each.documents is None else f"{each.documents:,}"
    return (each.name, documents, *_sizes(each), f"{growth.bytes_per_event(each):,.1f}")


def _indexes(measured: Measured) -> list[tuple[str, ...]]:
    """Those of collections that hold something; of a time series it is not counted how often they are used."""
    uses = {(each.collection, each.name): each for each in measured.index_uses}
    rows: list[tuple[str, ...]] = []
    for each in measured.collections:
        if each.documents == 0:
            continue
        for name, index_bytes in each.indexes.items():
            use = uses.get((each.name, name))
            used = ("", "") if use is None else (f"{use.uses:,}", use.since.isoformat(timespec="seconds"))
            rows.append((each.name, name, size(index_bytes), *used))
    return rows


def _forecast(measured: Measured, disk_bytes: int | None) -> list[tuple[str, str]]:
    growth, free = measured.growth, _free(measured, disk_bytes)
    days = math.inf if free is None else growth.days_until(free)
    full = "never, at this rate" if math.isinf(days) else f"in {days:,.0f} days"
    return [
        ("on the disk now", size(growth.now_bytes)),
        ("in 30 days", size(growth.in_days(_MONTH))),
        ("in 365 days", size(growth.in_days(_YEAR))),
        ("free", "unknown" if free is None else size(free)),
        ("full", full if free is not None else "unknown: name the size of the volume by --disk"),
    ]


def _free(measured: Measured, disk_bytes: int | None) -> int | None:
    """Of a volume of this size what the store leaves; without one, what MongoDB says of its disk."""
    return measured.free_bytes if disk_bytes is None else max(0, disk_bytes - measured.growth.now_bytes)


def _sizes(each: CollectionSize | DatabaseSize) -> tuple[str, str, str]:
    return size(each.data_bytes), size(each.storage_bytes), size(each.index_bytes)


def _hours(rate: Rate) -> str:
    return f"{rate.span.total_seconds() / 3_600:,.1f}"
