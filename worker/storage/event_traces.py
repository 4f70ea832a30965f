"""Which traces stored events belong to, for whoever writes of them into the log: looked up when something fails.

Nothing waits for the answer, and nothing depends on it: where MongoDB gives none, the line has no trace.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from worker.contract.trace_context import PARENT, STATE, TraceContext, trace_in
from worker.errors import WorkerError
from worker.storage import reading
from worker.storage.database import Database, Document

_KEPT: Final[Mapping[str, int]] = {f"metadata.{PARENT}": 1, f"metadata.{STATE}": 1}
# A line names one event, and there are few lines.
_MOST: Final = 100


async def traces_of(database: Database, event_ids: Iterable[Any]) -> dict[UUID, TraceContext]:
    """The traces of these events, of a hundred at most, by the events' ids; of those that have one."""
    ids = list(dict.fromkeys(each for each in event_ids if isinstance(each, UUID)))[:_MOST]
    found = await _found(database, {"_id": {"$in": ids}}) if ids else []
    return {each["_id"]: trace for each in found if (trace := trace_in(each)) is not None}


async def trace_at(database: Database, stream: Any, moment: Any) -> TraceContext | None:
    """The trace of the event of a stream that happened at this moment: the one that reached a milestone, say."""
    if not isinstance(stream, str) or not isinstance(moment, datetime):
        return None
    for each in await _found(database, {"stream_id": stream, "occurred_at": moment}):
        if (trace := trace_in(each)) is not None:
            return trace
    return None


async def _found(database: Database, query: Mapping[str, Any]) -> list[Document]:
    try:
        return (await reading.find(database.course_events, query, _KEPT, limit=_MOST)).documents
    except WorkerError:
        return []
