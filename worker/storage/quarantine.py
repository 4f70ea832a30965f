"""Quarantine of one thing: an item of `analytics_queue` under an id of its own says what, why and since when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from worker.storage.claims import RELEASED
from worker.storage.driver import Collection
from worker.storage.errors import WriteFailure, translated, write_failures
from worker.storage.work_items import OPEN

log = structlog.get_logger(__name__)

# Of the code versions that tried an item so many are remembered.
_MOST_VERSIONS = 20
# Which these are; an item from before this was noted was tried by the code it names.
_TRIED: dict[str, Any] = {
    "$cond": [
        {"$isArray": "$tried_by"},
        {"$filter": {"input": "$tried_by", "cond": {"$eq": [{"$type": "$$this"}, "string"]}}},
        {"$cond": [{"$ifNull": ["$code_version", False]}, ["$code_version"], []]},
    ]
}

# What of an open item is kept, with the types it has: where somebody gave one another, none is worth keeping.
_KEPT: dict[str, list[str]] = {
    "retry_count": ["int", "long"],
    "created_at": ["date"],
    **{name: ["date", "null", "missing"] for name in ("due_at", "processed_at", "last_retry", "lease_until")},
    "lease_owner": ["string", "null", "missing"],
}


def tried_by(code_version: str) -> dict[str, Any]:
    """Expression over an item: true if this code has had attempts at it."""
    return {"$in": [{"$literal": code_version}, _TRIED]}


def tried_also_by(code_version: str) -> dict[str, Any]:
    """Expression over an item: who has had attempts at it, with this code."""
    added = {"$concatArrays": [_TRIED, [{"$literal": code_version}]]}
    return {"$slice": [{"$cond": [tried_by(code_version), _TRIED, added]}, -_MOST_VERSIONS]}


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What is quarantined. `message` holds no values of it; `data` says what it is, for whoever tries again."""

    item_id: str
    event_type: str
    error_class: str
    message: str
    stream_id: str | None = None
    version: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def quarantine(what: Quarantined, code_version: str, *, changed: bool = False) -> UpdateOne:
    """The upsert of its item. May run twice: `_id` decides.

    Makes the item, or opens anew one that was completed, or that ended as failed without attempts by this code, or,
    `changed`, under any; one that is open keeps its attempts and its due time. `occurrences` goes up each time: an
    attempt under way that succeeds sees by it that the same has failed again meanwhile. Times are the server's.
    """
    return UpdateOne(
        {"_id": what.item_id}, [{"$set": _noted(what, code_version, changed=changed)}], upsert=True
    )


def woken(what: Quarantined, code_version: str) -> UpdateOne:
    """The upsert of its item as one to be tried at once, with all attempts before it. May run twice.

    An attempt under way is not the last word: its outcome is not written any more, for it does not know of this.
    """
    at_once = {"status": "pending", "retry_count": 0, "due_at": "$$NOW", "processed_at": None, **RELEASED}
    noted = _noted(what, code_version, changed=True)
    return UpdateOne({"_id": what.item_id}, [{"$set": {**noted, **at_once}}], upsert=True)


def waiting(what: Quarantined, code_version: str) -> UpdateOne:
    """The upsert of the item of what does not fail but waits. May run twice.

    As `quarantine`; but an item that is open for a failure goes on saying which.
    """
    noted = _noted(what, code_version, changed=False)
    ours = {"$eq": ["$event_type", what.event_type]}
    failing = {"$and": [{"$in": ["$status", list(OPEN)]}, ours, {"$ne": ["$error_class", what.error_class]}]}
    said = ("version", "error_class", "last_error", "data")
    kept = {name: {"$cond": [failing, f"${name}", noted[name]]} for name in said}
    return UpdateOne({"_id": what.item_id}, [{"$set": {**noted, **kept}}], upsert=True)


async def put_items(queue: Collection, updates: Sequence[UpdateOne]) -> None:
    """Write items outside of a transaction; one that somebody made so odd that the server refuses it costs itself."""
    failures: list[WriteFailure] = []
    try:
        with translated():
            await queue.bulk_write(updates, ordered=False)
    except BulkWriteError as error:
        failures = write_failures(error)
    if failures:  # not with the error itself, which quotes the item
        codes = sorted({failure.code for failure in failures})
        log.error("queue_items_cannot_be_written", items=len(failures), codes=codes)


def _noted(what: Quarantined, code_version: str, *, changed: bool) -> dict[str, Any]:
    """The fields as expressions over the stored item, if there is one."""
    literally = {
        "event_type": what.event_type,
        "stream_id": what.stream_id,
        "version": what.version,
        "error_class": what.error_class,
        "last_error": what.message,
        "code_version": code_version,
    }
    untried = {"$not": [tried_by(code_version)]}
    over = {"$and": [{"$eq": ["$status", "failed"]}, True if changed else untried]}
    # Whatever stands under our id and is no item of this kind is written over.
    kinds = [{"$in": [{"$type": f"${name}"}, types]} for name, types in _KEPT.items()]
    ours = [{"$eq": ["$event_type", what.event_type]}, {"$gte": ["$retry_count", 0]}, *kinds]
    foreign = {"$not": [{"$and": ours}]}
    counted = {"$cond": [{"$isNumber": "$occurrences"}, "$occurrences", 0]}
    begun = {"$or": [foreign, {"$not": [{"$in": ["$status", list(OPEN)]}]}]}
    opens = {"$or": [begun, over]}

    opened = {
        "status": "pending",
        "retry_count": 0,
        "created_at": "$$NOW",
        "due_at": "$$NOW",
        "processed_at": None,
    }
    kept = ("last_retry", "lease_owner", "lease_until")
    return {
        **{name: {"$literal": value} for name, value in literally.items()},
        "data": {"$literal": dict(what.data)},
        **{name: {"$cond": [opens, value, f"${name}"]} for name, value in opened.items()},
        **{name: {"$cond": [foreign, None, {"$ifNull": [f"${name}", None]}]} for name in kept},
        "occurrences": {"$add": [counted, 1]},
        # Whoever quarantines has tried; what begins, or has changed, was tried by nobody else.
        "tried_by": {
            "$cond": [{"$or": [begun, changed]}, [{"$literal": code_version}], tried_also_by(code_version)]
        },
    }
