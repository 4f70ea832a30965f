"""The roles that keep projections, as `build_roles` makes them of settings, running inside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from tests.support.running import RunningRole, run
from worker.app.roles import Dependencies, build_roles
from worker.gate import Gate
from worker.settings import load_settings
from worker.storage.database import Database
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock


@asynccontextmanager
async def working(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate | None = None,
    *,
    roles: str = "progress,counts,retry",
    **settings: str,
) -> AsyncIterator[RunningRole]:
    """Run these roles over the database's own catalogue; `settings` are further variables, without their prefix."""
    chosen = {
        "roles": roles,
        "mongodb_uri": "mongodb://127.0.0.1",
        "kafka_bootstrap_servers": "127.0.0.1:9092",
        **settings,
    }
    for name, value in chosen.items():
        monkeypatch.setenv(f"SEVENP_{name.upper()}", value)
    clock, metrics = SystemClock(), Metrics(CollectorRegistry(), database.catalogue)
    given = Dependencies(database, clock, metrics, Health(clock, metrics), gate=gate or Gate())
    *built, _ = build_roles(load_settings(), given, [])

    class All:
        async def run(self, stop: asyncio.Event) -> None:
            async with asyncio.TaskGroup() as group:
                for role in built:
                    group.create_task(role.run(stop))

    async with run(All(), lambda task, stop: RunningRole(metrics, task, stop)) as running:
        yield running
