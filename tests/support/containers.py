"""MongoDB and Kafka from containers: on loopback ports, and removed when the session ends, also a failed one.

The engine has to run on this machine. What a killed session leaves is removed by testcontainers' reaper, another
container; TESTCONTAINERS_RYUK_DISABLED=true does without.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import docker.errors
import requests
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from worker.devstack.servers.apache.node import PROPERTIES
from worker.devstack.servers.broker import answers_metadata
from worker.devstack.servers.mongod import CACHE_GB, REPLICA_SET, become_primary
from worker.devstack.servers.process import LOG_TAIL_BYTES, StartFailed, free_port
from worker.errors import Misconfigured

# Both default to what docker-compose.yml runs.
IMAGES: Mapping[str, str] = {
    "SEVENP_TEST_MONGODB_IMAGE": "mongo:6.0",
    "SEVENP_TEST_KAFKA_IMAGE": "apache/kafka:4.1.0",
}
KAFKA_LIMIT_S = 180.0  # two Java processes one after the other, on a machine that may be busy
START_ATTEMPTS = 3  # a free port may be taken by somebody else before the engine binds it
CONTROLLER_PORT = 9093  # inside the container only
_NO_ANSWER = (docker.errors.DockerException, requests.RequestException)


def image_of(setting: str) -> str:
    """The image that this setting names, or its default."""
    return os.environ.get(setting) or IMAGES[setting]


def require_images(settings: Iterable[str]) -> None:
    """Have every image of these settings, and the reaper's, on this machine; pulls what is missing.

    Raises Misconfigured where Docker does not answer or an image cannot be had, with what the engine said.
    """
    wanted = [(image_of(setting), f"set {setting}") for setting in settings]
    if not testcontainers_config.ryuk_disabled:
        instead = "set RYUK_CONTAINER_IMAGE, or TESTCONTAINERS_RYUK_DISABLED=true to do without"
        wanted.append((testcontainers_config.ryuk_image, instead))
    try:
        engine = DockerClient().client
        engine.ping()
    except _NO_ANSWER as error:
        raise Misconfigured(f"--stack containers: Docker does not answer: {error}") from error
    for image, instead in wanted:
        name = testcontainers_config.hub_image_name_prefix + image
        try:
            engine.images.get(name)
        except docker.errors.ImageNotFound:
            try:
                engine.images.pull(name)
            except _NO_ANSWER as error:
                message = f"--stack containers: image {name} cannot be had: {error}; {instead}"
                raise Misconfigured(message) from error


@dataclass(frozen=True, slots=True)
class Server:
    """One running container that serves on `port` of the loopback interface, inside and outside."""

    name: str
    container: DockerContainer
    port: int

    def log_tail(self) -> str:
        """The end of what it printed, safe to print."""
        logs: bytes = self.container.get_wrapped_container().logs(tail=100)
        return logs[-LOG_TAIL_BYTES:].decode("utf-8", errors="replace")

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        self.container.reload()
        if self.container.status != "running":
            raise StartFailed(f"{self.name} is {self.container.status}; its log says:\n{self.log_tail()}")

    def stop(self) -> None:
        """Remove the container and its volumes."""
        self.container.stop()

    @classmethod
    def start(cls, name: str, image: str, configure: Callable[[DockerContainer, int], object]) -> Self:
        """Start `image` as `configure` says for a port. Raises StartFailed with what the engine said."""
        for attempt in range(1, START_ATTEMPTS + 1):
            port = free_port()
            container = DockerContainer(image)
            # `with_bind_ports` would open the port to the whole network.
            container.ports[f"{port}/tcp"] = cast(Any, ("127.0.0.1", port))
            configure(container, port)
            try:
                container.start()
            except docker.errors.APIError as error:
                container.stop()
                taken = any(each in str(error) for each in ("already allocated", "already in use"))
                if attempt == START_ATTEMPTS or not taken:
                    raise StartFailed(f"{name} was not started from {image}: {error}") from error
            except BaseException:
                container.stop()
                raise
            else:
                return cls(name, container, port)
        raise AssertionError("unreachable: the last attempt returns or raises")


@dataclass(frozen=True, slots=True)
class MongoContainer:
    """A primary in a container."""

    server: Server

    @property
    def uri(self) -> str:
        """Connection string of the replica set."""
        return f"mongodb://127.0.0.1:{self.server.port}/?replicaSet={REPLICA_SET}"

    def stop(self) -> None:
        """Remove it with its data."""
        self.server.stop()


@dataclass(frozen=True, slots=True)
class KafkaContainer:
    """Apache Kafka in a container, configured as the dev stack's."""

    server: Server
    knows_idempotence: ClassVar[bool] = True

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.server.port}"

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        self.server.require_alive()

    def stop(self) -> None:
        """Remove it with its records."""
        self.server.stop()


async def start_mongodb(parameters: Sequence[str]) -> MongoContainer:
    """Start mongod with these server parameters and return it once it is primary; else StartFailed."""

    def configure(container: DockerContainer, port: int) -> None:
        # The port is the same on both sides: the set's member is known by one address everywhere.
        command = ["mongod", "--replSet", REPLICA_SET, "--bind_ip_all", "--port", str(port), "--quiet"]
        command += ["--wiredTigerCacheSizeGB", str(CACHE_GB)]
        for parameter in ("diagnosticDataCollectionEnabled=false", *parameters):
            command += ["--setParameter", parameter]
        container.with_command(command)

    image = image_of("SEVENP_TEST_MONGODB_IMAGE")
    server = await asyncio.to_thread(Server.start, "mongod", image, configure)
    try:
        await become_primary(server, server.port)
    except BaseException:
        server.stop()
        raise
    return MongoContainer(server)


async def start_kafka() -> KafkaContainer:
    """Start a broker of one node and return it once it answers; else StartFailed."""

    def configure(container: DockerContainer, port: int) -> None:
        properties = {
            **PROPERTIES,
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{CONTROLLER_PORT}",
            "listeners": f"PLAINTEXT://:{port},CONTROLLER://127.0.0.1:{CONTROLLER_PORT}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
        }
        container.with_envs(**{_variable(name): value for name, value in properties.items()})
        container.with_env("KAFKA_HEAP_OPTS", "-Xmx512m -Xms64m")

    image = image_of("SEVENP_TEST_KAFKA_IMAGE")
    server = await asyncio.to_thread(Server.start, "Kafka", image, configure)
    kafka = KafkaContainer(server)
    try:
        await answers_metadata(server, kafka.bootstrap_servers, KAFKA_LIMIT_S)
    except BaseException:
        server.stop()
        raise
    return kafka


def _variable(name: str) -> str:
    """How the official image spells a property in its environment."""
    return "KAFKA_" + name.upper().replace(".", "_")
