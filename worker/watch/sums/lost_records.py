"""Records that somebody deleted, or put older content in place of: folded again at once, by whoever counts.

Counting meets every change of a record and holds it against what it counted of it, so it is the one that sees a step
back. The event store has not moved, so nobody else would wake the stream; the fold is the one of every attempt, and
may meet a live one (see `Refold.restore`).
"""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from worker.storage.reading import Reading

_ABSENT = -1


def lost(records: Reading, known: Reading) -> dict[ObjectId, str]:
    """Learners whose record is gone, or is older than what was counted of it, each with its stream."""
    versions: dict[Any, Any] = {record["_id"]: record.get("version") for record in records.documents}
    unreadable = {each.id for each in records.unreadable}
    return {
        projection["_id"]: projection["stream_id"]
        for projection in known.documents
        if projection["_id"] not in unreadable
        and _went_back(versions.get(projection["_id"], _ABSENT), projection)
    }


def _went_back(version: Any, projection: Mapping[str, Any]) -> bool:
    """False as well for values that mean nothing: they are another's concern."""
    counted = projection.get("last_event_version")
    if not isinstance(counted, int) or not isinstance(projection.get("stream_id"), str):
        return False
    return isinstance(version, int) and version < counted
