"""Roles live and die together."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from tests.support.scraping import until_moved
from worker.app.exits import DrainOverdue, RoleDied
from worker.app.supervision import supervise
from worker.errors import Fatal, Misconfigured
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics

Behaviour = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True)
class Acting:
    """A role whose behaviour is written in the test."""

    name: str
    behaviour: Behaviour

    async def run(self, stop: asyncio.Event) -> None:
        await self.behaviour(stop)


async def _drains(stop: asyncio.Event) -> None:
    await stop.wait()


async def _returns_at_once(_stop: asyncio.Event) -> None:
    return


async def _never_ends(_stop: asyncio.Event) -> None:
    await asyncio.Event().wait()


def _raises(error: Exception) -> Behaviour:
    async def behaviour(_stop: asyncio.Event) -> None:
        raise error

    return behaviour


async def _supervise(*roles: Acting, stop: asyncio.Event | None = None, drain_s: float = 20) -> Metrics:
    metrics, clock = Metrics(), ManualClock()
    health = Health(clock)
    stop = stop or asyncio.Event()
    await supervise(roles, stop, drain_s=drain_s, clock=clock, metrics=metrics, health=health)
    return metrics


async def test_roles_that_are_told_to_stop_end_in_peace() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    metrics = await _supervise(Acting("a", _drains), Acting("b", _drains), stop=stop)
    labels = {"cause": "shutdown"}
    assert metrics.registry.get_sample_value("sevenp_worker_drain_duration_seconds_count", labels) == 1
    await until_moved(metrics, "drain_duration_seconds")


async def test_a_role_that_dies_stops_the_others_and_is_named_with_the_reason() -> None:
    drained = asyncio.Event()

    async def drains(stop: asyncio.Event) -> None:
        await stop.wait()
        drained.set()

    dying = Acting("ingest", _raises(Misconfigured("topic has no partitions")))
    with pytest.raises(RoleDied, match="role ingest died: topic has no partitions"):
        await _supervise(dying, Acting("progress", drains))
    assert drained.is_set()


async def test_a_defect_is_logged_with_its_frames_and_kept_out_of_the_message() -> None:
    with capture_logs() as logs, pytest.raises(RoleDied) as died:
        await _supervise(Acting("ingest", _raises(KeyError("a learner's secret"))))
    assert "defect (KeyError)" in str(died.value)
    assert "secret" not in str(died.value)
    assert [entry["role"] for entry in logs if entry["event"] == "role_died_of_a_defect"] == ["ingest"]


async def test_a_role_that_returns_unasked_counts_as_dead() -> None:
    with pytest.raises(RoleDied, match="ingest returned without being told to stop"):
        await _supervise(Acting("ingest", _returns_at_once), Acting("progress", _drains))


async def test_a_role_that_fails_while_draining_is_reported() -> None:
    async def fails_late(stop: asyncio.Event) -> None:
        await stop.wait()
        raise Misconfigured("late")

    stop = asyncio.Event()
    stop.set()
    with pytest.raises(RoleDied, match="late"):
        await _supervise(Acting("ingest", fails_late), stop=stop)


async def test_a_role_that_does_not_drain_is_named_and_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.app.supervision.CLOSING_S", 0.01)
    cancelled = asyncio.Event()

    async def clings(_stop: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    stop = asyncio.Event()
    stop.set()
    with pytest.raises(DrainOverdue, match="progress"):
        await _supervise(Acting("ingest", _drains), Acting("progress", clings), stop=stop, drain_s=0.01)
    assert cancelled.is_set()


async def test_who_died_is_told_even_where_another_is_not_drained_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody told the process to stop: that work was given up is the smaller news."""
    monkeypatch.setattr("worker.app.supervision.CLOSING_S", 0.01)
    dying, clinging = Acting("notify", _raises(Misconfigured("no such user"))), Acting("counts", _never_ends)
    with capture_logs() as logs, pytest.raises(RoleDied, match="role notify died: no such user"):
        await _supervise(dying, clinging, drain_s=0.01)
    (overdue,) = [entry["reason"] for entry in logs if entry["event"] == "drain_overdue"]
    assert "counts" in overdue


async def test_cancelling_the_supervision_cancels_every_role() -> None:
    started = asyncio.Event()

    async def starts(_stop: asyncio.Event) -> None:
        started.set()
        await _never_ends(_stop)

    supervision = asyncio.create_task(_supervise(Acting("ingest", starts)))
    await started.wait()
    supervision.cancel()
    with pytest.raises(asyncio.CancelledError):
        await supervision
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "ingest"] == []


async def test_roles_that_die_together_are_all_looked_at() -> None:
    """An error nobody looked at would be told by asyncio, after the process has said its last line."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["message"]))
    with pytest.raises(RoleDied, match="role ingest died: no user"):
        await _supervise(
            Acting("ingest", _raises(Fatal("no user"))), Acting("notify", _raises(Fatal("no user")))
        )
    gc.collect()
    assert told == []
