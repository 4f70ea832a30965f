"""Checks the worker's own items of `analytics_queue`: each is about what its key says, and comes up again in time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.replay.reading import PAGE_BYTES, PAGE_DOCUMENTS, owner_of, server_times
from worker.replay.shapes import misfits, told
from worker.replay.verification import Finding, FindingKind, Tally
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.errors import translated

Item = Mapping[str, Any]

# What an item of a type is about, and how its key begins. Items of other types are the platform's.
KEYS: Mapping[str, str] = {"progress_fold": "progress:"}
# Waits and leases are of minutes; a date beyond a day was not set by the worker.
LONGEST_WAIT = timedelta(days=1)
_DATES = ("created_at", "due_at", "lease_until", "last_retry", "processed_at")


async def check_queue(database: Database, tally: Tally) -> None:
    """Put into `tally` what is wrong with the worker's own items."""
    local, _ = await server_times(database)
    horizon = local + LONGEST_WAIT
    own = {"event_type": {"$in": list(KEYS)}}
    async for page in reading.pages(database.analytics_queue, own, most=PAGE_DOCUMENTS, max_bytes=PAGE_BYTES):
        tally.unreadable(page.unreadable)
        for item in page.documents:
            tally.report(item_faults(item, horizon))


async def excused_streams(database: Database, streams: Sequence[str]) -> set[str]:
    """Those of the streams whose fold failed, and waits in the queue: an item excuses the stream it is about."""
    keys = {f"{KEYS['progress_fold']}{stream}": stream for stream in streams}
    if not keys:
        return set()
    wanted = {"_id": {"$in": list(keys)}, "event_type": "progress_fold", "status": {"$ne": "completed"}}
    with translated():
        items = await database.analytics_queue.find(wanted, {"stream_id": 1}).to_list(None)
    return {item["stream_id"] for item in items if item.get("stream_id") == keys[item["_id"]]}


def item_faults(item: Item, horizon: datetime) -> Iterator[Finding]:
    """What is wrong with one item; no date lies behind `horizon`."""
    subject = f"analytics_queue {item.get('_id')}"
    if paths := misfits("analytics_queue", item):
        yield Finding(FindingKind.DOCUMENT_MALFORMED, subject, told(paths))
        return
    wrong = [detail for detail, broken in _rules(item, horizon) if broken]
    if wrong:
        yield Finding(FindingKind.QUEUE_ITEM_DIFFERENT, subject, "; ".join(wrong))


def _rules(item: Item, horizon: datetime) -> Iterator[tuple[str, bool]]:
    stream, status = item.get("stream_id"), item["status"]
    held = item.get("lease_owner") is not None and item.get("lease_until") is not None
    yield "its key is not that of its stream", item["_id"] != f"{KEYS[item['event_type']]}{stream}"
    yield "its stream is no stream's name", owner_of(str(stream)) is None
    yield "in hand without a lease", status == "processing" and not held
    yield "a lease, though it is not in hand", status != "processing" and item.get("lease_until") is not None
    yield "completed without a date", status == "completed" and item.get("processed_at") is None
    yield "a date in the future", any(item.get(name) is not None and item[name] > horizon for name in _DATES)
