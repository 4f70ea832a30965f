"""What a change stream's token tells of it: how far behind it is, and whether it still lives."""

from worker.errors import Retryable
from worker.storage.leases import Token
from worker.storage.resume_tokens import token_time_s
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

# Renewals of memberships move an idle stream's token at least this often.
_MOVES_WITHIN_S = 10.0


class StreamLiveness:
    """The proof of life of one open change stream (see `watch.stream`), as metrics and as an error."""

    def __init__(self, watcher: str, clock: Clock, metrics: Metrics, silent_after_s: float) -> None:
        self._clock = clock
        self._silent_after_s = silent_after_s
        self._watcher = watcher
        # Neither has a series before the first batch: 0 would be the year 1970, or no lag at all.
        self._heartbeat = metrics.change_stream_last_heartbeat_timestamp_seconds
        self._lag = metrics.change_stream_lag_seconds
        self._token: Token | None = None
        self._moved_at = clock.monotonic()

    def observe(self, token: Token, *, idle: bool) -> None:
        """Call after every batch; `Retryable` if the token stood still for too long."""
        now = self._clock.monotonic()
        if token != self._token:
            self._token, self._moved_at = token, now
            self._heartbeat.labels(self._watcher).set(self._clock.now().timestamp())
        still_s = now - self._moved_at
        if still_s > self._silent_after_s:
            raise Retryable("the change stream is silent: no majority of the replica set answers it")
        position_s = token_time_s(token)
        if position_s is not None:
            age_s = max(0.0, self._clock.now().timestamp() - position_s)
            is_current = idle and still_s < _MOVES_WITHIN_S
            self._lag.labels(self._watcher).set(0.0 if is_current else age_s)
