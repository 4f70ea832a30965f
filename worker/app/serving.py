"""The whole worker: start checks, roles, supervision, and everything closed again."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from worker.app.collector import search_now_and_then
from worker.app.control import known_of
from worker.app.dependencies import Probe, await_all, await_checks, kafka_probe, mongodb_probe
from worker.app.opening import assert_schema, opened
from worker.app.roles import Dependencies, build_roles
from worker.app.server_state import ServerState
from worker.app.supervision import Role, supervise
from worker.errors import Misconfigured
from worker.kafka.security import diagnose_connection, kafka_options
from worker.operate.control.role import ControlReader
from worker.settings import Channel, RoleName, Settings
from worker.storage.database import (
    TIMED,
    Database,
    assert_safe_server,
)
from worker.storage.past_validators import past_validators
from worker.telemetry.health import Health
from worker.telemetry.http import HttpServer, Probes
from worker.telemetry.logs import set_log_level
from worker.telemetry.loop_delay import measure_loop_delay
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import CommandTimer
from worker.telemetry.tracing import open_tracing
from worker.timing import Clock, SystemClock, cancel_and_wait, run_until_stopped

log = structlog.get_logger(__name__)

# Counts as a dependency: a worker is not ready before its start checks have passed.
_START = "start"

Build = Callable[[Settings, Dependencies, Sequence[Probe]], Sequence[Role]]
"""Makes the roles of a process, which keep readiness true by these probes."""
ProbesOf = Callable[[Settings, Database, ServerState], list[Probe]]
"""Tells what a process depends on, MongoDB first."""


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    clock: Clock | None = None,
    on_listening: Callable[[str], None] = lambda _url: None,
    build: Build = build_roles,
    probes_of: ProbesOf | None = None,
) -> None:
    """Run the worker, or whatever else `build` makes, until `stop` is set and it has drained.

    1. open the port, so that probes see the start  2. wait for the dependencies, check server and schema
    3. run the roles

    `on_listening` gets the URL of the port. Raises `Unreachable`, `Misconfigured`, `SchemaMismatch`, `RoleDied`
    or `DrainOverdue`; see `exits`.
    """
    clock, tracing = clock or SystemClock(), open_tracing()
    metrics = Metrics(catalogue=settings.ownership.catalogue)
    health = Health(clock, metrics)
    health.dependency(_START).down("waiting for dependencies, then checking server and schema")
    # 1.
    probes = Probes(metrics.registry, health)
    probes.watch_loop()
    server = HttpServer(probes, settings.process.http_host, settings.process.http_port)
    searching = asyncio.create_task(search_now_and_then(clock), name="collector")
    measuring = asyncio.create_task(measure_loop_delay(clock, metrics), name="loop delay")
    try:
        log.info("listening", url=server.url)
        on_listening(server.url)
        state = ServerState(clock)
        async with opened(settings, CommandTimer(metrics, TIMED, state.heard)) as database:
            given = Dependencies(database, clock, metrics, health, tracing=tracing)
            await _run(
                settings, stop, given, (probes_of or dependency_probes)(settings, database, state), build
            )
    finally:
        server.close()
        await cancel_and_wait(searching, measuring)
        await tracing.close()
    log.info("stopped")


async def _run(
    settings: Settings, stop: asyncio.Event, given: Dependencies, probes: list[Probe], build: Build
) -> None:
    clock, metrics, health = given.clock, given.metrics, given.health
    control = _control_reader(settings, given)
    # 2.
    started_up = await run_until_stopped(_start(settings, given, probes, control), stop)
    if not started_up or stop.is_set():
        return
    # 3.
    given = replace(
        given, database=await past_validators(given.database, settings.mongodb.external_collections)
    )
    metrics.describe_build(settings.role.revision)
    metrics.drain_budget_seconds.set(settings.role.drain_deadline_s)
    metrics.prepare_topic(settings.ingest.topics.interactions)
    roles = [*build(settings, given, probes), control]
    health.dependency(_START).up()
    log.info("started", roles=[role.name for role in roles])
    drain_s = settings.role.drain_deadline_s
    await supervise(roles, stop, drain_s=drain_s, clock=clock, metrics=metrics, health=health)


async def _start(
    settings: Settings, given: Dependencies, probes: list[Probe], control: ControlReader
) -> None:
    """Wait for the dependencies, and make the checks. What is paused is known before anything begins."""
    limit_s, clock, health = settings.process.start_timeout_s, given.clock, given.health
    await await_all(probes, limit_s=limit_s, clock=clock, health=health)

    async def checks() -> None:
        await assert_safe_server(given.database, test_server=settings.mongodb.allow_test_commands)
        await assert_schema(settings, given.database)
        await control.look_at_start()

    await await_checks(checks, limit_s=limit_s, clock=clock, health=health, name=probes[0].name)
    await _assert_notifications_can_leave(settings)


async def _assert_notifications_can_leave(settings: Settings) -> None:
    """Raise `Misconfigured` for a user or certificate that is not accepted; a Kafka that is away is waited for."""
    if RoleName.NOTIFY not in settings.process.roles or Channel.KAFKA not in settings.notify.channels:
        return
    refusal = await diagnose_connection(settings.kafka.bootstrap_servers, kafka_options(settings.kafka))
    if isinstance(refusal, Misconfigured):
        raise refusal


def _control_reader(settings: Settings, given: Dependencies) -> ControlReader:
    """Turns the gate that the roles are given. A level that is set at run time stands in for that of the settings."""
    return ControlReader(
        given.database,
        settings.control,
        known_of(settings, given.database.catalogue),
        given.gate,
        given.clock,
        given.metrics,
        given.health,
        set_log_level=lambda level: set_log_level(level or settings.process.log_level),
    )


def dependency_probes(
    settings: Settings, database: Database, state: ServerState | None = None
) -> list[Probe]:
    """What the chosen roles need to work, MongoDB first."""
    probes = [mongodb_probe(database, state)]
    if RoleName.INGEST in settings.process.roles:
        topics = (settings.ingest.topics.interactions,)
        probes.append(kafka_probe(settings.kafka.bootstrap_servers, topics, kafka_options(settings.kafka)))
    return probes
