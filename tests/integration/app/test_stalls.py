"""A role that awaits for ever is found out within a minute; one that is slow but moves is left alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from tests.conftest import RunningMongo
from tests.support.waiting import until
from tests.support.worker_process import fetch
from worker.app.roles import Dependencies, build_roles
from worker.app.serving import dependency_probes
from worker.app.supervision import Role, run_role
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.export import examples
from worker.contract.source import Source
from worker.kafka.files import OutgoingRecord
from worker.kafka.producer import Publisher
from worker.settings import RoleName, load_settings
from worker.storage.database import COLLECTIONS, Database, make_client, open_database
from worker.storage.documents import event_document
from worker.storage.driver import close
from worker.telemetry.health import Health
from worker.telemetry.http import HttpServer, Probes
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import CommandTimer
from worker.timing import SystemClock
from worker.watch.roles import Together

ROLES = (*RoleName, "presence", "readiness")
# No beat for this long of real time: what was under way when the role was blocked has come to rest.
QUIET_S = 2.0
# What the test gives a stalled role on the injected clock; the promise is 60 s.
STALL_S = 50.0


class ShiftedClock(SystemClock):
    """Real time that a test can move ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class FastClock(SystemClock):
    """Ten times as fast as real time: half a second of slowness looks like five."""

    def monotonic(self) -> float:
        return super().monotonic() * 10


class Blockable:
    """A coroutine that gets no turn while it is blocked: its await does not return, nor does a time limit in it.

    Whoever wants it to end unblocks it, and then cancels its task.
    """

    def __init__(self, coroutine: Awaitable[None]) -> None:
        self.blocked = False
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        error: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(None) if error is None else cast(Any, steps).throw(error)
            except StopIteration:
                return
            error = None
            try:
                yield waits_for
            except asyncio.CancelledError as cancelled:
                error = cancelled
            while self.blocked:
                try:
                    yield from asyncio.Event().wait().__await__()
                except asyncio.CancelledError as cancelled:
                    error = cancelled


class BlockableFollower:
    """One of the followers that ride on a role; it is blocked by itself, and the others go on."""

    def __init__(self, follower: Any) -> None:
        self.component, self._follower = follower.component, follower
        self._run: Blockable | None = None
        self._wanted = False

    @property
    def blocked(self) -> bool:
        return self._wanted

    @blocked.setter
    def blocked(self, blocked: bool) -> None:
        self._wanted = blocked
        if self._run is not None:
            self._run.blocked = blocked

    async def run(self, stop: asyncio.Event) -> None:
        self._run = Blockable(self._follower.run(stop))
        self._run.blocked = self._wanted
        await self._run


class Silent:
    """Stands for a part whose server never answers: every call can be awaited, for ever."""

    def __getattr__(self, name: str) -> "Silent":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_arguments: Any, **_options: Any) -> "Silent":
        return self

    def __await__(self) -> Generator[Any, Any, None]:
        yield from asyncio.Event().wait().__await__()


@dataclass
class Site:
    """One running role behind the real port."""

    role: Blockable | BlockableFollower
    health: Health
    url: str

    async def livez(self) -> tuple[int, dict[str, Any]]:
        status, body = await asyncio.to_thread(fetch, f"{self.url}/livez")
        return status, json.loads(body)

    def since_progress_s(self, name: str) -> float:
        return next(p.seconds_since_progress for p in self.health.components() if p.name == name)


Sites = Callable[..., Any]


@pytest.fixture
def site(database: Database, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Runs one role of `build_roles` on the test's servers, or on parts of the test's choice."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def running(name: str, clock: SystemClock, follower: int = 0, **parts: Any) -> AsyncIterator[Site]:
        loaded = load_settings()
        metrics = Metrics()
        health = Health(clock, metrics)
        given = Dependencies(replace(database, **parts), clock, metrics, health)
        roles = build_roles(loaded, given, dependency_probes(loaded, database))
        probes = Probes(metrics.registry, health)
        probes.watch_loop()
        server = HttpServer(probes, "127.0.0.1", 0)
        stop = asyncio.Event()
        role: Role = next(role for role in roles if role.name == name)
        one: BlockableFollower | None = None
        if isinstance(role, Together):  # blocked is one of its followers, which have tasks of their own
            one = BlockableFollower(role.followers[follower])
            of_each: list[Any] = [*role.followers]
            of_each[follower] = one
            role.followers = of_each
        blockable = Blockable(run_role(role, stop, health))

        async def run() -> None:
            await blockable

        task = asyncio.create_task(run(), name=name)
        try:
            yield Site(one or blockable, health, server.url)
        finally:
            stop.set()
            (one or blockable).blocked = False
            task.cancel()
            await asyncio.wait({task})
            server.close()

    return running


def test_every_role_is_tested_here(database: Database) -> None:
    loaded = load_settings()
    clock = SystemClock()
    given = Dependencies(database, clock, Metrics(), Health(clock))
    roles = build_roles(loaded, given, dependency_probes(loaded, database))
    assert tuple(role.name for role in roles) == ROLES


async def _assert_stalls(site: Site, clock: ShiftedClock, name: str) -> None:
    """Once nothing moves any more, less than a minute passes until the port says so.

    A machine that is slow enough comes to rest in between: who has moved since then is waited for again.
    """
    while True:
        await until(lambda: site.since_progress_s(name) > QUIET_S, f"{name} comes to rest")
        clock.ahead_s += STALL_S
        status, body = await site.livez()
        if site.since_progress_s(name) >= STALL_S:
            break
        assert clock.ahead_s < 10 * STALL_S, f"{name} goes on moving"
    assert status == 503
    assert name in body["stalled"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROLES)
async def test_a_role_whose_await_never_returns_is_named_within_a_minute(site: Sites, name: str) -> None:
    clock = ShiftedClock()
    async with site(name, clock) as running:
        await until(lambda: running.since_progress_s(name) < 0.5, f"{name} moves")
        running.role.blocked = True
        await _assert_stalls(running, clock, name)


async def test_a_follower_of_counts_that_hangs_is_not_hidden_by_the_other(site: Sites) -> None:
    clock = ShiftedClock()
    async with site("counts", clock, follower=1) as running:
        await until(lambda: running.since_progress_s("counts") < 0.5, "both move")
        running.role.blocked = True
        await _assert_stalls(running, clock, "counts")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("ingest", "leases"),
        ("ingest", "course_events"),
        ("ingest", "dead_letters"),
        ("ingest", "tombstones"),
        ("ingest", "user_interactions"),
        ("progress", "leases"),
        ("progress", "projection_state"),
        ("progress", "course_events"),
        ("progress", "user_progress"),
    ],
)
async def test_a_part_of_mongodb_that_never_answers_stalls_its_role(
    site: Sites, database: Database, kafka: str, topic: str, name: str, part: str
) -> None:
    clock = ShiftedClock()
    await _give_work(name, database, kafka, topic)
    async with site(name, clock, **{part: Silent()}) as running:
        await _assert_stalls(running, clock, name)


@pytest.mark.slow
async def test_a_consumer_that_never_returns_from_its_poll_stalls_ingest(
    site: Sites, kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_arguments: Any, **_options: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", never)
    clock = ShiftedClock()
    await _publish(kafka, topic)
    async with site("ingest", clock) as running:
        await _assert_stalls(running, clock, "ingest")


@pytest.mark.parametrize(("name", "result"), [("ingest", "user_interactions"), ("progress", "user_progress")])
@pytest.mark.long
async def test_a_role_on_a_slow_server_stays_alive_and_gets_on(
    site: Sites, mongodb: RunningMongo, database: Database, kafka: str, topic: str, name: str, result: str
) -> None:
    await _give_work(name, database, kafka, topic)
    application = f"slow-{database.prefix}"
    timer = CommandTimer(Metrics(), COLLECTIONS)
    client = make_client(mongodb.uri, application_name=application, listeners=[timer])
    slow = open_database(client, database.prefix)
    parts = {field.name: getattr(slow, field.name) for field in fields(slow)}
    try:
        async with _slow_answers(database, application), site(name, FastClock(), **parts) as running:
            stalled: set[str] = set()

            async def gets_on() -> bool:
                stalled.update((await running.livez())[1]["stalled"])
                return await database.collection(result).count_documents({}) > 0

            await until(gets_on, f"{result} is written")
        assert name not in stalled
    finally:
        await close(client)


@asynccontextmanager
async def _slow_answers(database: Database, application: str) -> AsyncIterator[None]:
    """Every command of one client waits half a second in the server."""
    commands = ["find", "insert", "update", "aggregate", "getMore", "findAndModify", "delete"]
    block = {"failCommands": commands, "appName": application, "blockConnection": True, "blockTimeMS": 500}
    admin = database.client.admin
    await admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=block)
    try:
        yield
    finally:
        await admin.command("configureFailPoint", "failCommand", mode="off")


async def _give_work(name: str, database: Database, kafka: str, topic: str) -> None:
    """What the role called `name` has to do something about."""
    if name == "ingest":
        await _publish(kafka, topic)
    else:
        await _store(database)


async def _store(database: Database) -> None:
    """The stored form of one good event of every type."""
    now = SystemClock().now()
    documents = []
    for version, example in enumerate(examples((INTERACTIONS,)).values(), start=1):
        event = decode_event(encode(example), timestamp=now)
        assert isinstance(event, Event)
        documents.append(event_document(event, version, Source("earlier", 0, version), now, None))
    await database.course_events.insert_many(documents)


async def _publish(kafka: str, topic: str) -> None:
    """One good event of every type, and one record that becomes a dead letter."""
    values = [*(encode(event) for event in examples((INTERACTIONS,)).values()), b"{"]
    async with Publisher(kafka, topic, clock=SystemClock(), idempotent=False) as publisher:
        await publisher.publish(OutgoingRecord(value) for value in values)
