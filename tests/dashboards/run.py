"""A real run that Prometheus looks at: workers under load, a scheduler, a job, and things that go wrong."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench.records import Workload
from dashboards.catalogue import ROOT
from tests.dashboards.traffic import break_a_stream, publishing
from tests.support.prometheus import Prometheus, start_prometheus
from tests.support.waiting import until
from tests.support.worker_pool import shared_pool
from tests.support.worker_process import fetch
from worker.devstack.servers.process import ServerProcess, free_port
from worker.operate.control import commands
from worker.operate.control.targets import Target
from worker.settings import setting_lines
from worker.storage import job_requests
from worker.storage.database import Collection, Database

RULES = ROOT / "deploy" / "prometheus" / "rules"
# Prometheus looks every second, where operators let it look every fifteen.
SCRAPE_S = 1
JOB = "rebuild-time-series"
LEARNERS = 1_500
# Of which a step of the job has a hundred.
_STREAMS = 500
_TERM_S = 30.0


@dataclass(frozen=True, slots=True)
class Servers:
    """What a run is on, with the schema applied and the topic made."""

    mongodb_uri: str
    kafka: str
    topic: str
    database: Database
    folder: Path

    def settings(self) -> dict[str, str]:
        """Of the worker and of every command: small batches, short leases, and quick second attempts."""
        wanted = {
            "SEVENP_MONGODB_URI": self.mongodb_uri,
            "SEVENP_DATABASE_PREFIX": self.database.prefix,
            "SEVENP_ALLOW_TEST_COMMANDS": "true",
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "SEVENP_KAFKA_GROUP_ID": f"group-{self.topic}",
            "SEVENP_TOPIC": self.topic,
            "SEVENP_SESSION_TIMEOUT_MS": "6000",
            "SEVENP_INGEST_MAX_RECORDS": "400",
            "SEVENP_WATCH_LEASE_S": "5",
            "SEVENP_RETRY_BACKOFF_S": "2",
            "SEVENP_RETRY_LONGEST_BACKOFF_S": "10",
            "SEVENP_SCRUB_CPU_PERCENT": "50",
            "SEVENP_CANARY_ENABLED": "true",
            "SEVENP_CANARY_INTERVAL_S": "5",
        }
        known = {line.variable for line in setting_lines()}
        return {name: value for name, value in wanted.items() if name in known}


@dataclass(slots=True)
class Run:
    """What runs, and how to make something happen. `began_at` is Unix time."""

    servers: Servers
    prometheus: Prometheus
    ports: Mapping[str, int]
    began_at: float
    processes: dict[str, ServerProcess]

    async def start_worker(self, name: str) -> None:
        """A worker of this name, up to its readiness."""
        port = self.ports[name]
        self._spawn(name, "run", SEVENP_HTTP_PORT=str(port))

        async def ready() -> bool:
            self.processes[name].require_alive()
            return (await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/readyz"))[0] == 200

        await until(ready, f"{name} is ready")

    async def stop(self, name: str) -> None:
        """Told to stop, and waited for: it drains."""
        await asyncio.to_thread(self.processes.pop(name).stop, _TERM_S)

    async def start_scheduler(self) -> None:
        """A scheduler whose entries are due since some minutes."""
        due = datetime.now(UTC) - timedelta(minutes=5)
        cron = f"{due:%M} {due:%H} * * *"
        file = self.servers.folder / "schedule.toml"
        names = ("check-upcasters", "scrub")
        file.write_text("".join(f'[{name}]\njob = "{name}"\ncron = "{cron}"\n' for name in names))
        for name in names:
            position = {"handled_until": due - timedelta(hours=1), "busy_from": None, "busy_until": None}
            await self.servers.database.schedule_positions.insert_one(
                {"_id": f"{name}: {cron} UTC", **position}
            )
        port = str(self.ports["scheduler"])
        self._spawn("scheduler", "schedule", SEVENP_SCHEDULE_FILE=str(file), SEVENP_HTTP_PORT=port)

    async def start_and_pause_a_job(self) -> str:
        """A job of some steps that is paused when it has counted them; returns its run."""
        shown = self.servers.database.user_progress
        await until(lambda: _more_than(shown, _STREAMS), f"{_STREAMS} learners have documents")
        self._spawn("job", "jobs", "run", JOB)

        async def begun() -> Any:
            return await self.servers.database.job_runs.find_one({"job": JOB, "progress.total": {"$gt": 0}})

        run = await until(begun, "the job has counted what it has to do")
        await job_requests.ask(self.servers.database, run["_id"], "pause", "somebody", datetime.now(UTC))
        return str(run["_id"])

    async def pause_by_hand(self) -> None:
        """An operator has no completion announced, and somebody else one stream stand still."""
        stream = f"course_{'c' * 24}_user_{'a' * 24}"
        for target, who in (
            (Target("kind", "completion"), "anna@ops"),
            (Target("stream", stream), "bert@ops"),
        ):
            asked = commands.Asked("production", who, "the dashboards are drawn")
            await commands.pause(self.servers.database, target, asked)

    def _spawn(self, name: str, *arguments: str, **changes: str) -> None:
        log = self.servers.folder / f"{name}.log"
        environment = {**self.servers.settings(), "PYTHONUNBUFFERED": "1", **changes}
        self.processes[name] = shared_pool().start(name, log, environment, arguments)


@asynccontextmanager
async def running(servers: Servers, *, per_s: float) -> AsyncIterator[Run]:
    """Everything at work; one stream is stuck."""
    workload = Workload(10**9, LEARNERS, 12)
    courses, users = workload.platform()
    await servers.database.courses.insert_many(courses)
    await servers.database.users.insert_many(users)
    ports = {name: free_port() for name in ("worker-1", "worker-2", "scheduler")}
    targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    async with AsyncExitStack() as stack:
        prometheus = await start_prometheus(
            servers.folder / "prometheus",
            list(targets.values()),
            rules(servers.folder),
            interval_s=float(SCRAPE_S),
        )
        stack.push_async_callback(asyncio.to_thread, prometheus.stop)
        run = Run(servers, prometheus, ports, time.time(), {})
        stack.push_async_callback(_stop_all, run)
        await run.start_worker("worker-1")
        await stack.enter_async_context(publishing(servers.kafka, servers.topic, workload, per_s))
        await run.start_scheduler()
        await run.start_worker("worker-2")
        # All attempts may be made within two seconds: what has risen before the first look at it shows no rate.
        workers = {targets[name] for name in ("worker-1", "worker-2")}
        await until(partial(_has_looked, prometheus, workers), "Prometheus has looked at both workers")
        await break_a_stream(servers.database)
        yield run


def rules(folder: Path) -> list[Path]:
    """All rules of the repository, all evaluated as often: a run ends before a minute has passed twice."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for path in sorted(RULES.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in content["groups"]:
            group.pop("interval", None)
        paths.append(folder / path.name)
        paths[-1].write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return paths


async def _has_looked(prometheus: Prometheus, targets: Set[str]) -> bool:
    known = await prometheus.query("count by (instance) (sevenp_worker_retry_attempts_total)")
    return targets <= {each.labels["instance"] for each in known}


async def _more_than(collection: Collection, number: int) -> bool:
    return await collection.estimated_document_count() > number


async def _stop_all(run: Run) -> None:
    await asyncio.gather(*(run.stop(name) for name in list(run.processes)))
