"""Streams whose fold failed: one queue item each says why, and the others go on."""

from collections.abc import Sequence
from typing import Any

from pymongo import UpdateOne

from worker.storage.database import Database
from worker.storage.errors import translated
from worker.watch.folding import Failure

EVENT_TYPE = "progress_fold"


def item_id(stream: str) -> str:
    """`_id` of the stream's item in `analytics_queue`: there is never a second one."""
    return f"progress:{stream}"


async def set_aside(database: Database, failures: Sequence[Failure], *, code_version: str) -> None:
    """Note each failure in its stream's item. May run twice: `_id` decides.

    Makes the item, or opens anew one that was settled, or that ended as failed under other code; one that is
    open keeps its attempts and its due time. `occurrences` goes up each time: an attempt under way that
    succeeds sees by it that the stream has failed again meanwhile.
    """
    if not failures:
        return
    updates = [
        UpdateOne({"_id": item_id(failure.stream)}, [{"$set": _noted(failure, code_version)}], upsert=True)
        for failure in failures
    ]
    with translated():
        await database.analytics_queue.bulk_write(updates, ordered=False)


def _noted(failure: Failure, code_version: str) -> dict[str, Any]:
    """The fields as expressions over the stored item, if there is one; times are the server's."""
    literally = {
        "event_type": EVENT_TYPE,
        "stream_id": failure.stream,
        "version": failure.version,
        "error_class": failure.error_class,
        "last_error": failure.message,
        "code_version": code_version,
    }
    other_code = {"$ne": ["$code_version", {"$literal": code_version}]}
    over = {"$and": [{"$eq": ["$status", "failed"]}, other_code]}
    anew = {"$or": [{"$eq": [{"$ifNull": ["$status", "completed"]}, "completed"]}, over]}

    def opened(name: str, value: Any) -> dict[str, Any]:
        return {"$cond": [anew, value, f"${name}"]}

    return {
        **{name: {"$literal": value} for name, value in literally.items()},
        "data": {"$ifNull": ["$data", {"$literal": {}}]},
        "status": opened("status", "pending"),
        "retry_count": opened("retry_count", 0),
        "created_at": opened("created_at", "$$NOW"),
        "due_at": opened("due_at", "$$NOW"),
        "processed_at": opened("processed_at", None),
        "last_retry": {"$ifNull": ["$last_retry", None]},
        "lease_owner": {"$ifNull": ["$lease_owner", None]},
        "lease_until": {"$ifNull": ["$lease_until", None]},
        "occurrences": {"$add": [{"$ifNull": ["$occurrences", 0]}, 1]},
    }
