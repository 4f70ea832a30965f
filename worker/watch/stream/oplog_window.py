"""How long a change stream could stand still before its position leaves the oplog: an alarm in good time."""

import structlog

from worker.errors import Fatal, Refused, UnknownAnswer
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.leases import Token
from worker.storage.resume_tokens import token_time_s
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)

# The oplog's window changes slowly; reading its first entry costs about a millisecond.
_EVERY_S = 10.0


class OplogWindow:
    """Feeds `change_stream_oplog_headroom_seconds`: our position minus the oldest entry of the oplog."""

    def __init__(self, database: Database, watcher: str, clock: Clock, metrics: Metrics) -> None:
        self._oplog = database.client.get_database("local").get_collection("oplog.rs")
        self._gauge = metrics.change_stream_oplog_headroom_seconds
        self._watcher = watcher
        self._clock = clock
        self._due_at = clock.monotonic()

    async def measure(self, token: Token) -> None:
        """Measure when it is due. A user that may not read the oplog, or a router without one, has no gauge."""
        position_s = token_time_s(token)
        if position_s is None or self._clock.monotonic() < self._due_at:
            return
        self._due_at = self._clock.monotonic() + _EVERY_S
        try:
            with translated():
                oldest = await self._oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)])
        except (Fatal, Refused, UnknownAnswer) as error:
            self._due_at = float("inf")
            log.warning("oplog_window_unknown", watcher=self._watcher, reason=str(error))
            return
        if oldest is not None:
            self._gauge.labels(self._watcher).set(max(0, position_s - oldest["ts"].time))
