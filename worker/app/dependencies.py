"""What has to answer: probed at start, when silence ends the process, and all the time, for readiness."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from worker.app.exits import Unreachable
from worker.app.mongodb import with_setting_hint
from worker.app.server_state import ServerState
from worker.errors import Retryable, TopicMissing, WorkerError
from worker.kafka.metadata import require_topic
from worker.kafka.security import diagnose_connection
from worker.settings import variable
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.retrying import retrying
from worker.telemetry.health import Health
from worker.telemetry.waits import Wait
from worker.timing import Clock, Deadline, cancel_and_wait, run_until_stopped
from worker.words import in_words

log = structlog.get_logger(__name__)

INTERVAL_S = 5.0
# Between two attempts at the start checks.
_CHECK_AGAIN_S = 1.0
# One probe. A MongoDB server selection takes up to 5 s, a Kafka connection and two requests fit easily.
LIMIT_S = 8.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One dependency: `ask` returns when it answers and raises `Retryable` when it does not."""

    name: str
    ask: Callable[[], Awaitable[None]]
    setting: str


def mongodb_probe(database: Database, state: ServerState | None = None) -> Probe:
    """Answers while there is a primary, and nothing in `state` says that it refuses work.

    A user or a certificate that is not accepted is `Misconfigured`.
    """

    async def ask() -> None:
        try:
            with translated():
                await database.client.admin.command("ping")
        except WorkerError as error:
            raise with_setting_hint(error) from error
        if state is not None and (refusal := state.refusal):
            raise Retryable(refusal)

    return Probe("mongodb", ask, variable("mongodb_uri"))


def kafka_probe(bootstrap_servers: str, topics: Sequence[str], options: Mapping[str, Any]) -> Probe:
    """Answers while a broker does and knows the topics. Each time over a new connection, so none can be stale.

    Without topics it does whatever topics there are. A user or a certificate that is not accepted is `Misconfigured`,
    an absent topic `TopicMissing`.
    """

    async def ask() -> None:
        client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, **options)
        try:
            await client.bootstrap()
            for topic in topics:
                await require_topic(client, bootstrap_servers, topic)
            if not topics:
                await client.fetch_all_metadata()
        except TopicMissing as error:
            raise TopicMissing(f"{error}, or look at {variable('topic')}") from None
        except (KafkaError, OSError) as error:
            silent = Retryable(f"no broker answers at {bootstrap_servers} ({in_words(error)})")
            raise await diagnose_connection(bootstrap_servers, options) or silent from error
        finally:
            await client.close()

    return Probe("kafka", ask, variable("kafka_bootstrap_servers"))


async def await_all(probes: Sequence[Probe], *, limit_s: float, clock: Clock, health: Health) -> None:
    """Wait until every dependency answers; raises `Unreachable` for those that do not within `limit_s`.

    What waiting cannot heal is raised at once, whatever the others do.
    """
    await _all([_await_one(probe, limit_s, clock, health) for probe in probes])


async def require_answers(probes: Sequence[Probe]) -> None:
    """Ask each dependency once, for a command that somebody waits for; raises as `await_all` does."""
    await _all([_ask_once(probe) for probe in probes])


async def _all(waits: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Everything that does not answer is named in one error: who has two things to mend wants to know it."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        for done in asyncio.as_completed(tasks):
            with suppress(Unreachable):
                await done
    finally:
        await cancel_and_wait(*tasks)
    silent = [str(error) for task in tasks if (error := task.exception()) is not None]
    if silent:
        raise Unreachable(" ".join(silent))


async def _ask_once(probe: Probe) -> None:
    try:
        await _ask(probe)
    except Retryable as error:
        raise unreachable(probe.name, str(error), probe.setting) from error


def unreachable(name: str, reason: str, setting: str, waited: str = "") -> Unreachable:
    """The one sentence about a server that does not answer."""
    return Unreachable(f"{name} did not answer{waited} ({reason}): is it running, and is {setting} right?")


async def await_checks(
    checks: Callable[[], Awaitable[None]], *, limit_s: float, clock: Clock, health: Health, name: str
) -> None:
    """Make checks of a server that answers; where it cannot answer them yet, again for up to `limit_s`.

    An attempt under way is not cut off. Raises `Unreachable` with the server's word when time is up.
    """
    deadline, wait = Deadline.after(clock, limit_s), Wait(log, clock, "start_checks_wait", dependency=name)
    dependency = health.dependency(name)
    while True:
        try:
            await checks()
        except Retryable as error:
            dependency.down(str(error))
            wait.failed(error)
            if deadline.passed:
                raise Unreachable(
                    f"{name} answers, but did not let the start checks through within {limit_s:g} s ({error})"
                ) from error
        else:
            dependency.up()
            wait.over()
            return
        await clock.sleep(_CHECK_AGAIN_S)


async def _await_one(probe: Probe, limit_s: float, clock: Clock, health: Health) -> None:
    dependency = health.dependency(probe.name)
    wait = Wait(log, clock, "start_waits", dependency=probe.name)

    def waits(error: Retryable) -> None:
        dependency.down(str(error))
        wait.failed(error)

    try:
        async with asyncio.timeout(limit_s):
            await retrying(lambda: _ask(probe), clock=clock, on_retry=waits)
    except TimeoutError:
        waited = f" within {limit_s:g} s"
        raise unreachable(probe.name, str(dependency.reason), probe.setting, waited) from None
    dependency.up()
    wait.over()


class Readiness:
    """The role that keeps readiness true to life."""

    name = "readiness"

    def __init__(self, probes: Sequence[Probe], clock: Clock, health: Health) -> None:
        self._probes = probes
        self._clock = clock
        self._health = health
        self._component = health.component(self.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Probe every few seconds until `stop`, which also ends a wait or a probe under way."""
        while not stop.is_set() and await run_until_stopped(self._round(), stop):
            self._component.beat()

    async def _round(self) -> None:
        await asyncio.gather(*(_look(probe, self._health) for probe in self._probes))
        await self._clock.sleep(INTERVAL_S)


async def _look(probe: Probe, health: Health) -> None:
    dependency = health.dependency(probe.name)
    was_up = dependency.reason is None
    try:
        await _ask(probe)
        dependency.up()
    except WorkerError as error:
        dependency.down(str(error))
    is_up = dependency.reason is None
    if was_up != is_up:
        log.warning("dependency_changed", dependency=probe.name, up=is_up, reason=dependency.reason)


async def _ask(probe: Probe) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await probe.ask()
    except TimeoutError as error:
        raise Retryable(f"no answer within {LIMIT_S:g} s") from error
