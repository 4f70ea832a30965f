"""The worker as a child process, exactly as an operator runs it, and what its HTTP port says."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from worker.devstack.servers.process import ServerProcess, StartFailed, free_port, spawn
from worker.telemetry.labels import Outcome
from worker.telemetry.metrics import PREFIX

READY_LIMIT_S = 60.0  # joining the group and taking the leases takes some seconds on a busy machine
POLL_S = 0.1
HTTP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The worker's own accounting of one topic: records by outcome since it started, lag by partition.

    `components` are what runs in the worker, by name.
    """

    outcomes: Mapping[str, int]
    dropped: int
    lags: Mapping[int, int]
    components: frozenset[str] = frozenset()

    @property
    def accounted(self) -> int:
        """Records with an outcome; one that is read a second time after a rebalance counts again."""
        return sum(self.outcomes.values())

    def of(self, outcome: Outcome) -> int:
        """Records with this outcome."""
        return self.outcomes.get(outcome, 0)

    def since(self, earlier: "WorkerCounts") -> "WorkerCounts":
        """What was counted after `earlier`."""
        outcomes = {name: count - earlier.outcomes.get(name, 0) for name, count in self.outcomes.items()}
        return WorkerCounts(outcomes, self.dropped - earlier.dropped, self.lags, self.components)


@dataclass(frozen=True, slots=True)
class WorkerProbe:
    """Reads a running worker's HTTP port. `process` is None for a worker somebody else started."""

    url: str
    process: ServerProcess | None

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when our worker has ended."""
        if self.process is not None:
            self.process.require_alive()

    async def counts(self, topic: str) -> WorkerCounts | None:
        """What /metrics says of the topic; None while it does not answer, or not of this topic."""
        found = await self.counts_of([topic])
        return None if found is None else found[topic]

    async def counts_of(self, topics: Sequence[str]) -> dict[str, WorkerCounts] | None:
        """What /metrics says of these topics at one moment; None while it does not answer, or not of one of them."""
        answer = await asyncio.to_thread(_get, self.url, "/metrics")
        return None if answer is None or answer[0] != 200 else _parse(answer[1], topics)

    async def metrics(self) -> str:
        """The text of /metrics; empty while it does not answer."""
        answer = await asyncio.to_thread(_get, self.url, "/metrics")
        return "" if answer is None else answer[1]

    async def wait_until_ready(self, topic: str, partitions: int) -> WorkerCounts:
        """Return once it is ready, owns all partitions of the topic and has read them; StartFailed otherwise."""
        end = asyncio.get_running_loop().time() + READY_LIMIT_S
        seen = "its port does not answer"
        while asyncio.get_running_loop().time() < end:
            self.require_alive()
            ready = await asyncio.to_thread(_get, self.url, "/readyz")
            if ready is not None:
                seen = f"/readyz says {ready[0]}: {ready[1].strip()}"
                counts = await self.counts(topic) if ready[0] == 200 else None
                if counts is not None and len(counts.lags) >= partitions and not any(counts.lags.values()):
                    return counts
                if counts is not None:
                    seen = _describe(counts, topic, partitions)
            await asyncio.sleep(POLL_S)
        log = f"; its log says:\n{self.process.log_tail()}" if self.process else ""
        raise StartFailed(f"the worker at {self.url} is not ready after {READY_LIMIT_S:.0f} s: {seen}{log}")


def start_worker(folder: Path, settings: Mapping[str, str]) -> WorkerProbe:
    """Start `python -m worker run` with all roles on a free loopback port; its log is `worker.log` in `folder`.

    `settings` are environment variables. Call it from the main thread: the child dies with its thread.
    """
    port = free_port()
    environment = {
        **settings,
        "SEVENP_HTTP_HOST": "127.0.0.1",
        "SEVENP_HTTP_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    process = spawn("worker", [sys.executable, "-m", "worker", "run"], folder / "worker.log", environment)
    return WorkerProbe(f"http://127.0.0.1:{port}", process)


def _describe(counts: WorkerCounts, topic: str, partitions: int) -> str:
    if len(counts.lags) < partitions:
        return (
            f"it owns {len(counts.lags)} of {partitions} partitions of {topic}; "
            "if other workers run in its group, stop them or name the one that runs"
        )
    return f"it still has to read {sum(counts.lags.values())} older records of {topic}"


def _get(url: str, path: str) -> tuple[int, str] | None:
    """Status and body, or None when nothing answers. Blocks for at most a few seconds."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=HTTP_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", errors="replace")
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _parse(text: str, topics: Sequence[str]) -> dict[str, WorkerCounts] | None:
    """None for an answer without the outcomes of a topic: a worker shows them all, at 0, from its start."""
    outcomes: dict[str, dict[str, int]] = {topic: {} for topic in topics}
    lags: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    components: set[str] = set()
    dropped = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            topic = sample.labels.get("topic", "")
            if topic in outcomes and sample.name == f"{PREFIX}_events_processed_total":
                outcomes[topic][sample.labels["outcome"]] = int(sample.value)
            elif topic in lags and sample.name == f"{PREFIX}_kafka_consumer_lag_records":
                lags[topic][int(sample.labels["partition"])] = int(sample.value)
            elif sample.name == f"{PREFIX}_events_dropped_total":
                dropped += int(sample.value)
            elif sample.name == f"{PREFIX}_component_up":
                components.add(sample.labels["component"])
    if any(len(each) != len(Outcome) for each in outcomes.values()):
        return None
    return {
        topic: WorkerCounts(outcomes[topic], dropped, lags[topic], frozenset(components)) for topic in topics
    }
