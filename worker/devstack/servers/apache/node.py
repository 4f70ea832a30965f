"""One Apache Kafka process, broker and controller in one: its files outlive it, so that it can be started again."""

import asyncio
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from worker.devstack.servers.apache.artifacts import java_binary
from worker.devstack.servers.process import ServerProcess, StartFailed, spawn

# Tests run several side by side on two cores: a small heap, one collector thread, no second compiler.
JVM_OPTIONS = ("-Xmx512m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_OPTIONS = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
FORMAT_LIMIT_S = 120.0  # about a second on an idle machine
STOP_GRACE_S = 20.0  # a controlled shutdown moves leaders away first

SCRAM_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")

# One node is a whole cluster: internal topics have one copy, groups start at once, and a broker that was killed is
# let in again without waiting for its former registration to expire (9 s by default).
PROPERTIES: Mapping[str, str] = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",  # tests of dead members wait no 6 s, which is the default
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "auto.create.topics.enable": "false",
        "log.retention.ms": "-1",  # tests publish fixed dates; nothing may expire under them
    }
)


@dataclass
class Node:
    """One member of a cluster: where its files are and, while it runs, its process.

    `properties` go over ours. `scram` are users that exist from the first start: name, password.
    """

    number: int
    port: int
    folder: Path
    jars: Path
    properties: Mapping[str, str]
    scram: Mapping[str, str] = field(default_factory=dict, repr=False)
    process: ServerProcess | None = None

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def running(self) -> ServerProcess:
        """Its process; StartFailed when it was never started."""
        if self.process is None:
            raise StartFailed(f"Kafka node {self.number} was not started")
        return self.process

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it is not running."""
        self.running.require_alive()

    async def format(self, cluster_id: str) -> None:
        """Prepare its folder once; raises StartFailed with the output of the tool."""
        self.folder.mkdir(parents=True)
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in self._all_properties()))
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._configuration)]
        for user, password in self.scram.items():
            for mechanism in SCRAM_MECHANISMS:
                arguments += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        done = await asyncio.to_thread(
            subprocess.run,
            self._java(*arguments),
            capture_output=True,
            text=True,
            timeout=FORMAT_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(f"Kafka's storage was not formatted:\n{(done.stdout + done.stderr)[-2_000:]}")

    def start(self) -> None:
        """Start the process; whether it serves is the cluster's to ask."""
        command = self._java("kafka.Kafka", str(self._configuration))
        self.process = spawn(f"Kafka node {self.number}", command, self.log)

    def stop(self) -> None:
        """End it in an orderly way; blocks until it is gone. Stopping twice is harmless."""
        if self.process is not None:
            self.process.stop(STOP_GRACE_S)

    def kill(self) -> None:
        """SIGKILL; blocks until it is gone."""
        if self.process is not None and self.process.returncode is None:
            self.process.popen.kill()
            self.process.popen.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send SIGSTOP, SIGCONT and the like."""
        self.running.popen.send_signal(number)

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.properties"

    def _all_properties(self) -> Sequence[tuple[str, str]]:
        own = {"node.id": str(self.number), "log.dirs": str(self.folder / "data")}
        return list({**PROPERTIES, **own, **self.properties}.items())

    def _java(self, *arguments: str) -> list[str]:
        return [java_binary(), *JVM_OPTIONS, *LOG_OPTIONS, "-cp", str(self.jars / "*"), *arguments]
