"""Where a drill happens: servers of its own, workers, a real Prometheus with the alerts, and who reads them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.running_worker import PARTITIONS, RunningWorker, settings, working
from tests.drill.inhibition import inhibitions, told
from tests.drill.scaling import scaled
from tests.support.commands import Ended, sevenp_worker
from tests.support.prometheus import Prometheus, start_prometheus
from tests.support.waiting import LIMIT_S, until
from worker.devstack.servers.broker import Broker, start_broker
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema

TOPIC = "drilled-events"
PARAMETERS = ("enableTestCommands=1", "ttlMonitorEnabled=false")
QUICK = 1 / 60
"""A minute of an alert's patience is a second."""
# Labels that say nothing of what is broken.
_GENERAL = {"alertname", "service", "severity", "instance", "job"}
# It looks at how a gauge changes that is measured every ten seconds: in windows of seconds that says nothing.
_NOT_SCALABLE = ("OplogHeadroomLow",)
_OF_SCRAPES = {"WorkerDown", "WorkerUnreachable", "RoleMissing", "DepthsUnknown"}


@dataclass(slots=True)
class Site:
    """Everything that runs. Workers are known by their names; `environments` are what they were started with."""

    folder: Path
    mongod: Mongod
    broker: Broker
    database: Database
    prometheus: Prometheus
    environments: Mapping[str, Mapping[str, str]]
    workers: dict[str, RunningWorker]
    leaving: AsyncExitStack = field(repr=False)
    ready_at: float = 0.0

    @property
    def kafka(self) -> str:
        return self.broker.bootstrap_servers

    async def told(self) -> set[str]:
        """What Alertmanager would tell now, each alert with what is broken: `DependencyDown dependency=kafka`."""
        return {_named(labels) for labels in told(await self.prometheus.firing(), inhibitions())}

    async def until_told(self, *alerts: str) -> float:
        """Wait until exactly these are told; the seconds that took."""
        began, heard = time.monotonic(), set[str]()

        async def exactly() -> bool:
            heard.clear()
            heard.update(await self.told())
            return heard == set(alerts)

        try:
            await until(exactly, f"told: {', '.join(alerts) or 'nothing'}")
        except AssertionError as error:
            raise AssertionError(f"{error}; told at last: {heard}") from error
        return time.monotonic() - began

    async def ever_fired(self) -> set[str]:
        """The names of all alerts that fired since the site was ready, told or not.

        Those that tell of a scrape that failed are left out: a busy machine may miss two, which are minutes here.
        """
        seconds = max(1, round(time.time() - self.ready_at))
        fired = f'max_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])'
        found = await self.prometheus.query(f"max by (alertname) ({fired})")
        return {each.labels["alertname"] for each in found} - _OF_SCRAPES

    async def restart(self, name: str) -> None:
        """Tell a worker to stop, wait until it has drained, and start one of its name on its port."""
        process = self.workers[name].process
        process.popen.terminate()
        assert await asyncio.to_thread(process.popen.wait, LIMIT_S) == 0, process.log_tail()
        self.workers[name] = await self.leaving.enter_async_context(
            working(self.environments[name], self.folder / f"{name}-again.log", name)
        )

    async def command(self, *arguments: str) -> Ended:
        """What an operator types."""
        return await sevenp_worker(next(iter(self.environments.values())), *arguments)


@asynccontextmanager
async def site(
    folder: Path,
    *,
    data: Path | None = None,
    workers: Sequence[str] = ("a",),
    factor: float = QUICK,
    times: Collection[str] = (),
) -> AsyncIterator[Site]:
    """A site whose workers are ready and whose Prometheus has scraped them; MongoDB's files lie in `data`."""
    async with AsyncExitStack() as leaving:
        mongod = await start_mongod(data or folder, parameters=PARAMETERS)
        leaving.callback(mongod.stop)
        broker = await start_broker(folder)
        leaving.callback(broker.stop)
        client = make_client(mongod.uri)
        leaving.push_async_callback(close, client)
        database = open_database(client, "drill")
        await apply_schema(database)
        await create_topic(broker.bootstrap_servers, TOPIC, partitions=PARTITIONS)
        environments = {
            name: settings(mongod.uri, database, broker.bootstrap_servers, TOPIC) for name in workers
        }
        running = {
            name: await leaving.enter_async_context(working(environment, folder / f"{name}.log", name))
            for name, environment in environments.items()
        }
        targets = [f"127.0.0.1:{each['SEVENP_HTTP_PORT']}" for each in environments.values()]
        rules = scaled(folder, factor, times=times, without=_NOT_SCALABLE if factor == QUICK else ())
        prometheus = await start_prometheus(folder / "prometheus", targets, [rules])
        leaving.callback(prometheus.stop)
        built = Site(folder, mongod, broker, database, prometheus, environments, running, leaving)
        await until(lambda: _scraped(prometheus, len(workers)), "Prometheus has scraped every worker")
        await built.until_told()
        built.ready_at = time.time()
        yield built


async def _scraped(prometheus: Prometheus, workers: int) -> bool:
    found = await prometheus.query("count(sevenp_worker_build_info)")
    return [each.value for each in found] == [workers]


def _named(labels: Mapping[str, str]) -> str:
    broken = [f"{name}={value}" for name, value in sorted(labels.items()) if name not in _GENERAL]
    return " ".join([labels["alertname"], *broken])


@asynccontextmanager
async def frozen(process: ServerProcess) -> AsyncIterator[None]:
    """Inside, the process stands still, and its connections stay open."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)
