"""Checks the worker's own items of `analytics_queue`: each is about what its key says, and comes up again in time."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.outbox import notification_id
from worker.storage.transactions import Session
from worker.storage.work_items import (
    COUNTS_FOLD,
    COUNTS_ROW,
    OPEN,
    PROGRESS_FOLD,
    counts_item_id,
    fold_item_id,
)
from worker.verify.findings import Finding, FindingKind, Tally, subject_of
from worker.verify.reading import PAGE_BYTES, PAGE_DOCUMENTS, owner_of, server_times
from worker.verify.shapes import misfits, told

Item = Mapping[str, Any]

# The worker's own items: streams and documents that are set aside. Items of other types are the platform's.
_FOLD, _COUNT, _ROW = PROGRESS_FOLD, COUNTS_FOLD, COUNTS_ROW
_COUNTED: Mapping[str, str] = {"learner": "user_progress", "course": "courses", "user": "users"}
_PAYMENT = re.compile("counts:payment:[0-9a-f]{24}")
# Waits and leases are of minutes; a date beyond a day was not set by the worker.
LONGEST_WAIT = timedelta(days=1)
_DATES = ("created_at", "due_at", "lease_until", "last_retry", "processed_at")


async def check_queue(database: Database, tally: Tally) -> None:
    """Put into `tally` what is wrong with the worker's own items."""
    local, _ = await server_times(database)
    horizon = local + LONGEST_WAIT
    own = {"event_type": {"$in": [_FOLD, _COUNT, _ROW]}}
    async for page in reading.pages(database.analytics_queue, own, most=PAGE_DOCUMENTS, max_bytes=PAGE_BYTES):
        tally.unreadable(page.unreadable)
        for item in page.documents:
            with tally.guard("analytics_queue", item):
                tally.report(item_faults(item, horizon))


async def excused_streams(database: Database, streams: Sequence[str]) -> set[str]:
    """Those of the streams whose fold failed, and waits in the queue: an item excuses the stream it is about."""
    keys = {fold_item_id(stream): stream for stream in streams}
    if not keys:
        return set()
    wanted = {"_id": {"$in": list(keys)}, "event_type": _FOLD, "status": {"$in": list(OPEN)}}
    items = await reading.find(database.analytics_queue, wanted, {"stream_id": 1})
    return {keys[item["_id"]] for item in items.documents if item.get("stream_id") == keys[item["_id"]]}


async def is_set_aside(database: Database, kind: str, identity: object, session: Session) -> bool:
    """Counting passes this learner, course or user over, which is known and waits for another attempt."""
    wanted = {"_id": counts_item_id(kind, identity), "event_type": _COUNT, "status": {"$in": list(OPEN)}}
    items = await reading.find(database.analytics_queue, wanted, {"_id": 1}, session=session)
    return bool(items.documents)


async def open_rows(database: Database, items: Sequence[str], session: Session) -> frozenset[str]:
    """Those of the items that are open: the server refuses their rows of outbox or billing."""
    if not items:
        return frozenset()
    wanted = {"_id": {"$in": list(items)}, "event_type": _ROW, "status": {"$in": list(OPEN)}}
    found = await reading.find(database.analytics_queue, wanted, {"_id": 1}, session=session)
    return frozenset(each["_id"] for each in found.documents)


def item_faults(item: Item, horizon: datetime) -> Iterator[Finding]:
    """What is wrong with one item; no date lies behind `horizon`."""
    subject = subject_of("analytics_queue", item)
    if paths := misfits("analytics_queue", item):
        yield Finding(FindingKind.DOCUMENT_MALFORMED, subject, told(paths))
        return
    wrong = [detail for detail, broken in _rules(item, horizon) if broken]
    if wrong:
        yield Finding(FindingKind.QUEUE_ITEM_DIFFERENT, subject, "; ".join(wrong))


def _rules(item: Item, horizon: datetime) -> Iterator[tuple[str, bool]]:
    status = item["status"]
    held = item.get("lease_owner") is not None and item.get("lease_until") is not None
    yield "its key is not that of what it is about", item["_id"] != _key(item)
    yield "in hand without a lease", status == "processing" and not held
    yield "a lease, though it is not in hand", status != "processing" and item.get("lease_until") is not None
    yield "completed without a date", status == "completed" and item.get("processed_at") is None
    yield "a date in the future", any(item.get(name) is not None and item[name] > horizon for name in _DATES)


def _key(item: Item) -> str | None:
    """The key that goes with what the item says it is about; None for what no item can be about."""
    if item["event_type"] == _FOLD:
        stream = item.get("stream_id")
        return fold_item_id(stream) if owner_of(str(stream)) else None
    named, identity = item["data"].get("collection"), item["data"].get("id")
    if item["event_type"] == _COUNT:
        kind = next((kind for kind, collection in _COUNTED.items() if collection == named), None)
        return counts_item_id(kind, identity) if kind and isinstance(identity, ObjectId) else None
    stream = item["data"].get("stream_id")
    if not owner_of(str(stream)):
        return None
    if named == "notifications":
        kind = str(identity).partition(":")[0]
        return (
            counts_item_id(kind, stream_object_id(str(stream)))
            if identity == notification_id(kind, stream)
            else None
        )
    # That of a payment is made of the event, which the item does not name.
    return item["_id"] if named == "billing_transactions" and _PAYMENT.fullmatch(item["_id"]) else None
