"""Apache Kafka on free loopback ports: one node, or three that survive the loss of any one."""

import asyncio
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from worker.devstack.servers.apache.artifacts import fetch_jars
from worker.devstack.servers.apache.node import Node
from worker.devstack.servers.process import (
    ADDRESS_IN_USE,
    StartFailed,
    free_port,
    start_serving,
    wait_for_port,
)

START_LIMIT_S = 120.0  # 2 s on an idle machine, for one node
_POLL_S = 0.2  # each look is a connection and a metadata request
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ApacheKafka:
    """A running cluster; its nodes can be killed and started again and keep their records.

    `client` are the arguments an aiokafka client needs besides the address, where the listeners are secured.
    """

    nodes: Sequence[Node]
    client: Mapping[str, Any] = field(default_factory=dict)
    knows_idempotence: ClassVar[bool] = True

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return ",".join(node.address for node in self.nodes)

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when a node has ended."""
        for node in self.nodes:
            node.require_alive()

    async def restart(self, node: Node) -> None:
        """Start a node that was stopped or killed; returns when it answers."""
        node.start()
        await self.answers(node)

    async def answers(self, node: Node) -> None:
        """Return once the node knows all nodes of the cluster. Raises StartFailed with its log's tail."""
        end = asyncio.get_running_loop().time() + START_LIMIT_S
        node.require_alive()
        await wait_for_port(node.running, node.port, START_LIMIT_S)
        while True:
            node.require_alive()
            seen = await self._brokers_known_to(node)
            if seen == len(self.nodes):
                return
            if asyncio.get_running_loop().time() > end:
                log = node.running.log_tail()
                raise StartFailed(
                    f"{node.address} knows {seen} of {len(self.nodes)} nodes; its log says:\n{log}"
                )
            await asyncio.sleep(_POLL_S)

    async def _brokers_known_to(self, node: Node) -> int:
        client = AIOKafkaClient(bootstrap_servers=node.address, **self.client)
        try:
            await client.bootstrap()
            return len(client.cluster.brokers())
        except KafkaError:
            return 0
        finally:
            await client.close()

    async def in_sync(self, topic: str) -> None:
        """Return once every partition of `topic` has a leader and all its copies are up to date."""
        end = asyncio.get_running_loop().time() + START_LIMIT_S
        while not await self._all_in_sync(topic):
            if asyncio.get_running_loop().time() > end:
                raise StartFailed(f"the copies of {topic} are not in sync after {START_LIMIT_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    async def _all_in_sync(self, topic: str) -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, **self.client)
        try:
            await admin.start()
            (found,) = await admin.describe_topics([topic])
        except KafkaError:
            return False
        finally:
            await admin.close()
        partitions = found["partitions"]
        return bool(partitions) and all(
            each["leader"] > 0 and len(each["isr"]) == len(each["replicas"]) for each in partitions
        )

    def stop(self) -> None:
        """End all nodes by their process ids; blocks until they are gone. The files stay."""
        for node in self.nodes:
            if node.process is not None and node.process.returncode is None:
                node.process.popen.terminate()  # all at once: the last one alone has nobody to hand over to
        for node in self.nodes:
            node.stop()


async def start_apache(
    folder: Path,
    *,
    nodes: int = 1,
    properties: Mapping[str, str] = _NOTHING,
    scram: Mapping[str, str] = _NOTHING,
    client: Mapping[str, Any] = _NOTHING,
) -> ApacheKafka:
    """Start a fresh cluster with its files and logs below `folder`; returns when every node knows all others.

    `properties` go over the defaults of all nodes; `listeners` in them may say {port}. Raises StartFailed with the
    log's tail, or Misconfigured without Java or Maven.
    """
    jars = await fetch_jars()

    def fresh() -> ApacheKafka:
        ports = [(free_port(), free_port()) for _ in range(nodes)]
        members = [
            Node(number, port, folder / f"kafka-{port}", jars, _properties(number, ports, properties), scram)
            for number, (port, _) in enumerate(ports, start=1)
        ]
        return ApacheKafka(members, client)

    return await start_serving(
        fresh, _start, lambda cluster: any(ADDRESS_IN_USE in _log(node) for node in cluster.nodes)
    )


async def _start(cluster: ApacheKafka) -> None:
    # One in 64 would begin with a dash, which the tool takes for an option.
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "0")
    await asyncio.gather(*(node.format(cluster_id) for node in cluster.nodes))
    for node in cluster.nodes:
        node.start()
    for node in cluster.nodes:
        await cluster.answers(node)


def _log(node: Node) -> str:
    return node.log.read_text(encoding="utf-8", errors="replace") if node.log.exists() else ""


def _properties(
    number: int, ports: Sequence[tuple[int, int]], wanted: Mapping[str, str]
) -> Mapping[str, str]:
    """What depends on the size of the cluster and on this node's ports."""
    port, controller_port = ports[number - 1]
    copies = str(min(3, len(ports)))
    voters = ",".join(f"{each}@127.0.0.1:{own}" for each, (_, own) in enumerate(ports, start=1))
    own = {
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "default.replication.factor": copies,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        # One copy may be away, and what is acknowledged stands in two.
        "min.insync.replicas": str(min(2, len(ports))),
        "transaction.state.log.min.isr": str(min(2, len(ports))),
    }
    merged = {**own, **wanted}
    listeners = merged["listeners"].format(port=port)
    return {**merged, "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller_port}"}
