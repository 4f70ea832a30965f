"""How every step of ingest is run: again while MongoDB is away, its time measured, each answer a sign of life."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from worker.errors import Retryable
from worker.storage.retrying import retrying
from worker.telemetry.health import Component
from worker.telemetry.labels import Stage
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.telemetry.waits import Waits
from worker.timing import Clock

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Steps:
    """Retries, timing and signs of life, for steps of any kind. The log has their `waits`."""

    def __init__(self, clock: Clock, metrics: Metrics, component: Component) -> None:
        self._clock = clock
        self._metrics = metrics
        self._component = component
        self._count_retry = retry_counter(metrics)
        self.waits = Waits(log, clock, "ingest")

    async def with_retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat while MongoDB is away; both an answer and a counted retry are progress."""
        result = await retrying(operation, clock=self._clock, on_retry=self._retried)
        self._component.beat()
        self.waits.mongodb.over()
        return result

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Measure what is done inside; nothing is measured when it fails."""
        began = self._clock.monotonic()
        yield
        took_s = self._clock.monotonic() - began
        self._metrics.ingest_stage_duration_seconds.labels(stage.value).observe(took_s)

    def _retried(self, error: Retryable) -> None:
        self._count_retry(error)
        self._component.beat()
        self.waits.mongodb.failed(error)
