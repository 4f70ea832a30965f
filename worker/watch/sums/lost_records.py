"""Records that somebody deleted, or put older content in place of: folded again at once, by whoever counts.

Counting meets every change of a record and holds it against what it counted of it, so it is the one that sees a step
back. The event store has not moved, so nobody else would wake the stream; the fold is the one of every attempt, and
may meet a live one (see `Refold`).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import structlog
from bson import ObjectId

from worker.storage.database import Database
from worker.storage.reading import Reading
from worker.telemetry.metrics import Metrics
from worker.timing import Clock
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.refold import Refold

log = structlog.get_logger(__name__)

FoldLost = Callable[[Collection[str]], Awaitable[None]]

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


class LostRecords:
    """Makes lost records again from the event store, whoever wrote what is there; may run twice.

    `barrier` and `keep_alive` are those of `Refold`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        *,
        barrier: Callable[[], Awaitable[None]],
        keep_alive: Callable[[], Awaitable[None]],
        code_version: str,
    ) -> None:
        self._database = database
        self._code_version = code_version
        self._fold = Refold(
            database, clock, metrics, barrier=barrier, keep_alive=keep_alive, code_version=code_version
        )

    async def __call__(self, streams: Collection[str]) -> None:
        """Raises Retryable while MongoDB is away; where the fold fails, the stream gets its item in the queue."""
        log.warning("counts_records_lost", streams=len(streams))
        again = await self._fold([], doubted=list(streams))
        await quarantine_streams(self._database, list(again.failed.values()), code_version=self._code_version)
