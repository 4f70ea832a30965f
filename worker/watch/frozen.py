"""Documents that a newer release made: this one leaves them alone, so they stand still, and somebody has to know."""

from collections.abc import Callable, Hashable, Iterable

import structlog

from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)

# As many are told apart; beyond that the number stays.
_MOST = 10_000
_TELL_AGAIN_S = 60.0


class Frozen:
    """Feeds `projection_frozen_streams` of one projection, and says so once a minute while there are any."""

    def __init__(self, projection: str, version: int, clock: Clock, metrics: Metrics) -> None:
        self._projection = projection
        self._version = version
        self._clock = clock
        self._gauge = metrics.projection_frozen_streams.labels(projection)
        self._streams: set[Hashable] = set()
        self._tell_at = clock.monotonic()

    def observe(self, frozen: Iterable[Hashable], others: Iterable[Hashable] = ()) -> None:
        """Note which of the streams seen have moved on without their documents; all others have not (any more)."""
        if self._streams:
            self._streams.difference_update(others)
        for stream in frozen:
            if len(self._streams) < _MOST:
                self._streams.add(stream)
        self._show()

    def retain(self, ours: Callable[[Hashable], bool]) -> None:
        """Forget those that others look after now."""
        self._streams = {stream for stream in self._streams if ours(stream)}
        self._show()

    def _show(self) -> None:
        self._gauge.set(len(self._streams))
        if not self._streams or self._clock.monotonic() < self._tell_at:
            return
        self._tell_at = self._clock.monotonic() + _TELL_AGAIN_S
        log.warning(
            f"{self._projection}_frozen",
            streams=len(self._streams),
            version=self._version,
            reason="their documents are of a newer release: run one that is not older",
        )
