"""A worker process on Apache Kafka whose memory is watched: `python -m worker run`, as operators run it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RunningMongo
from tests.support.waiting import until
from tests.support.worker_process import fetch
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.settings import variable
from worker.storage.database import Database
from worker.telemetry.metrics import PREFIX

KIB = 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """A worker that is ready, and what it says of itself."""

    probe: WorkerProbe
    process: ServerProcess

    def value(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where there is none."""
        text = fetch(f"{self.probe.url}/metrics")[1]
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return sum(
            s.value for s in samples if s.name == f"{PREFIX}_{name}" and labels.items() <= s.labels.items()
        )

    def peak_bytes(self) -> int:
        """Most memory that was resident at any time since it started."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            pytest.skip("this platform does not say how much memory a process has had")
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * KIB


@asynccontextmanager
async def watched(
    folder: Path, database: Database, mongodb: RunningMongo, kafka: str, topic: str, partitions: int
) -> AsyncIterator[Watched]:
    """Run a worker in its own process on this topic; it is told to stop at the end."""
    probe = start_worker(
        folder,
        {
            variable("mongodb_uri"): mongodb.uri,
            variable("database_prefix"): database.prefix,
            variable("allow_test_commands"): "true",
            variable("kafka_bootstrap_servers"): kafka,
            variable("kafka_group_id"): f"group-{topic}",
            variable("topic"): topic,
            variable("position_check_interval_s"): "1",
        },
    )
    assert probe.process is not None
    try:
        await probe.wait_until_ready(topic, partitions)
        yield Watched(probe, probe.process)
    finally:
        probe.process.stop()


async def until_stored(database: Database, count: int, limit_s: float = 60.0) -> None:
    """Return once the event store holds `count` events."""

    async def condition() -> bool:
        return bool(await database.course_events.count_documents({}) >= count)

    await until(condition, f"{count} events stored", limit_s)
