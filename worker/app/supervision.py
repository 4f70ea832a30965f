"""Roles run together: one that dies stops the process, one that is told to stop drains first."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from worker.app.exits import DrainOverdue, RoleDied
from worker.errors import WorkerError
from worker.telemetry.health import Health
from worker.telemetry.labels import DrainCause
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, cancel_within

log = structlog.get_logger(__name__)

# On top of the drain deadline, which roles keep by themselves: closing consumers, cursors and leases.
CLOSING_S = 5.0
# A task that ignores its cancellation for this long is left behind.
_CANCEL_S = 5.0


class Role(Protocol):
    """A long-running service of the worker."""

    @property
    def name(self) -> str:
        """Its name in health, metrics and logs; from a closed set."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain and return. Raises when waiting cannot help."""


async def run_role(role: Role, stop: asyncio.Event, health: Health) -> None:
    """Run one role as its component: what its tasks hear from MongoDB counts as its progress."""
    with health.component(role.name).acting():
        await role.run(stop)


async def supervise(
    roles: Sequence[Role],
    stop: asyncio.Event,
    *,
    drain_s: float,
    clock: Clock,
    metrics: Metrics,
    health: Health,
) -> None:
    """Run all roles until `stop` is set and all have drained.

    Raises `RoleDied` for the first role that fails or returns unasked, after the others have drained or their time is
    over, and `DrainOverdue` when none died and a role is not done `drain_s` and a little after it was told to stop.
    """
    tasks = [asyncio.create_task(run_role(role, stop, health), name=role.name) for role in roles]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        first = None if stop.is_set() else next(task for task in tasks if task.done())
        died = [] if first is None else [_failure(first) or _returned(first)]
        stop.set()
        overdue = await _drain(tasks, drain_s + CLOSING_S, clock, metrics)
        # Every failure is looked at: what fails one role (a password, say) fails them all at once.
        died += [death for task in tasks if task is not first and (death := _failure(task)) is not None]
        if died:
            if overdue is not None:
                log.warning("drain_overdue", reason=str(overdue))
            raise died[0]
        if overdue is not None:
            raise overdue
    finally:
        await cancel_within(_CANCEL_S, stopping, *tasks)


async def _drain(
    tasks: Iterable[asyncio.Task[None]], limit_s: float, clock: Clock, metrics: Metrics
) -> DrainOverdue | None:
    """Wait until all are done; what to say of those that are not in time."""
    began = clock.monotonic()
    _, late = await asyncio.wait(tasks, timeout=limit_s)
    metrics.drain_duration_seconds.labels(DrainCause.SHUTDOWN).observe(clock.monotonic() - began)
    if not late:
        return None
    names = ", ".join(sorted(task.get_name() for task in late))
    return DrainOverdue(f"not drained within {limit_s:g} s: {names}; nothing is lost, but work is repeated")


def _returned(task: asyncio.Task[None]) -> RoleDied:
    return RoleDied(f"role {task.get_name()} returned without being told to stop")


def _failure(task: asyncio.Task[None]) -> RoleDied | None:
    if not task.done():
        return None
    if task.cancelled():
        return RoleDied(f"role {task.get_name()} was cancelled")
    error = task.exception()
    return _death(task.get_name(), error) if error is not None else None


def _death(name: str, error: BaseException) -> RoleDied:
    """Our own errors say what to do; any other is a defect, whose frames belong into the log."""
    if isinstance(error, WorkerError):
        died = RoleDied(f"role {name} died: {error}")
    else:
        log.error("role_died_of_a_defect", role=name, exc_info=error)
        died = RoleDied(f"role {name} died of a defect ({type(error).__name__}): see the log for where")
    died.__cause__ = error
    return died
