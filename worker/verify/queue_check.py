"""Checks the worker's own items of `analytics_queue`: each is about what its key says, and comes up again in time."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from projections.counts.teaching import INSTRUCTORS_COLLECTION
from projections.kinds import Projection, StreamProjection
from worker.contract.family import LEARNER
from worker.contract.identity import stream_kind, stream_object_id
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.outbox import notification_id
from worker.storage.transactions import Session
from worker.storage.work_items import COUNTS_FOLD, COUNTS_ROW, OPEN, counts_item_id, fold_item_id, fold_type
from worker.verify.findings import Fault, Kind, Run, broken, subject_of
from worker.verify.reading import pages, server_times

Item = Mapping[str, Any]

# By collection the word that stands in the key of an item.
COUNTED: Mapping[str, str] = {
    "user_progress": "learner",
    "courses": "course",
    "users": "user",
    INSTRUCTORS_COLLECTION: "instructor",
}
_PAYMENT = re.compile("counts:payment:[0-9a-f]{24}")
# Waits and leases are of minutes; a date beyond a day was not set by the worker.
LONGEST_WAIT = timedelta(days=1)
_DATES = ("created_at", "due_at", "lease_until", "last_retry", "processed_at")


async def check_queue(run: Run) -> None:
    """Put into the run's tally what is wrong with the worker's own items."""
    database, tally = run.database, run.tally
    local, _ = await server_times(database)
    folds = {fold_type(each.name): each for each in database.catalogue.projections}
    own = {"event_type": {"$in": [*folds, COUNTS_ROW]}}
    async for page in pages(database.analytics_queue, own):
        for item in tally.well_formed(page):
            with tally.guard("analytics_queue", item["_id"]):
                subject = subject_of("analytics_queue", item)
                rules = _rules(item, folds, local + LONGEST_WAIT)
                tally.report(broken(Kind.QUEUE_ITEM, Fault.DIFFERENT, subject, rules))


async def quarantined_streams(database: Database, projection: str, streams: Sequence[str]) -> set[str]:
    """Those of the streams whose fold failed, and waits in the queue: an item excuses the stream it is about."""
    keys = {fold_item_id(stream, projection): stream for stream in streams}
    items = await open_items(database, fold_type(projection), list(keys))
    return {stream for key, stream in keys.items() if key in items and items[key].get("stream_id") == stream}


async def open_items(
    database: Database, event_type: str, ids: Sequence[str], session: Session | None = None
) -> Mapping[str, Item]:
    """Those of the items that are of this type and wait for another attempt, by `_id`."""
    if not ids:
        return {}
    wanted = {"_id": {"$in": list(ids)}, "event_type": event_type, "status": {"$in": list(OPEN)}}
    found = await reading.find(database.analytics_queue, wanted, {"stream_id": 1}, session=session)
    return {item["_id"]: item for item in found.documents}


def _rules(item: Item, folds: Mapping[str, Projection], horizon: datetime) -> Iterator[tuple[str, bool]]:
    """What must hold of a well-formed item; no date lies behind `horizon`. `folds`: projections by type of item."""
    status = item["status"]
    leased = item.get("lease_owner") is not None and item.get("lease_until") is not None
    yield "its key is not that of what it is about", item["_id"] != _key(item, folds)
    yield "claimed without a lease", status == "processing" and not leased
    yield "a lease, though it is not claimed", status != "processing" and item.get("lease_until") is not None
    yield "completed without a date", status == "completed" and item.get("processed_at") is None
    yield "a date in the future", any(item.get(name) is not None and item[name] > horizon for name in _DATES)


def _key(item: Item, folds: Mapping[str, Projection]) -> str | None:
    """The key that goes with what the item says it is about; None for what no item can be about."""
    data = item.get("data") or {}
    named, identity = data.get("collection"), data.get("id")
    if item["event_type"] == COUNTS_FOLD:
        kind = COUNTED.get(str(named))
        return counts_item_id(kind, identity) if kind and isinstance(identity, ObjectId) else None
    if (projection := folds.get(item["event_type"])) is not None:
        if not isinstance(projection, StreamProjection):
            return fold_item_id(identity, projection.name)
        stream = item.get("stream_id")
        return fold_item_id(stream, projection.name) if stream_kind(str(stream)) else None
    stream = str(data.get("stream_id"))
    if stream_kind(stream) != LEARNER:
        return None
    if named == "notifications":
        kind = str(identity).partition(":")[0]
        is_its = identity == notification_id(kind, stream)
        return counts_item_id(kind, stream_object_id(stream)) if is_its else None
    # Of a release before: that of a payment is made of the event, which the item does not name.
    return item["_id"] if named == "billing_transactions" and _PAYMENT.fullmatch(item["_id"]) else None
