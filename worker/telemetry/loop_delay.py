"""How late the event loop is: what blocks it keeps every task waiting, and shows nowhere else."""

from typing import Final

from worker.telemetry.metrics import Metrics
from worker.timing import Clock

EVERY_S: Final = 1.0


async def measure_loop_delay(clock: Clock, metrics: Metrics) -> None:
    """Observe every second how much later than asked for a task is woken, for ever."""
    while True:
        due_at = clock.monotonic() + EVERY_S
        await clock.sleep(EVERY_S)
        metrics.event_loop_delay_seconds.observe(max(0.0, clock.monotonic() - due_at))
