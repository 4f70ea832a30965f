"""What brokers say of topics, of their settings and of a group, asked without joining, making or moving anything."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaClient, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest

from worker.errors import Misconfigured, Refused, Retryable, WorkerError
from worker.kafka.record import Partition
from worker.kafka.security import diagnose_connection
from worker.settings import KafkaSettings
from worker.words import in_words

_NOT_ALLOWED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
_UNKNOWN_REQUEST = (errors.UnsupportedVersionError, errors.IncompatibleBrokerVersion)
_REQUEST_MS = 5_000
# A cluster that has never had a group makes the topic of offsets first, which takes a second or two.
_LOOKS = 6
_BETWEEN_LOOKS_S = 0.5


@dataclass(frozen=True, slots=True)
class Copies:
    """Who has one partition: its leader (-1 for nobody), the brokers with a copy, and those that are up to date."""

    leader: int
    all: Sequence[int]
    in_sync: Sequence[int]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The brokers, and the topics that exist of those that were asked for: their partitions by number."""

    brokers: Sequence[int]
    topics: Mapping[str, Mapping[int, Copies]]


@dataclass(frozen=True, slots=True)
class GroupState:
    """How many members a consumer group has, and whether this user may join it.

    `reads` are the partitions of each member by its client id; members that have none at this moment are left out.
    """

    members: int
    may_read: bool
    reads: Mapping[str, Sequence[Partition]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brokers:
    """The brokers of the settings. Every question is a connection of its own, so none can be stale.

    Raises `Retryable` without an answer, `Misconfigured` where this user is not allowed to ask, `Refused` where the
    broker does not know the request.
    """

    kafka: KafkaSettings
    security: Mapping[str, Any]

    async def answer(self) -> None:
        """Return when a broker answers; else raise why none does."""
        servers = self.kafka.bootstrap_servers
        client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=_REQUEST_MS, **self.security)
        try:
            await client.bootstrap()
            if not client.cluster.brokers():
                raise Retryable(f"no broker answers at {servers}")
        except (errors.KafkaError, OSError) as error:
            silent = Retryable(f"no broker answers at {servers} ({in_words(error)})")
            raise await diagnose_connection(servers, self.security) or silent from error
        finally:
            await client.close()

    async def absent(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Those of the topics that cannot be read now, each with the reason in words. Nothing is created."""
        async with self._client() as client:
            request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
            answer = await client.send(client.get_random_node(), request)
        reasons = dict.fromkeys(topics, "it does not exist")
        for code, name, *_, partitions in answer.topics:
            # Brokers tell a user who may not see a topic nothing else of it, not even that there is none.
            if errors.for_code(code) in _NOT_ALLOWED:
                reasons[name] = "it does not exist, or this user may not see it"
            elif partitions:
                reasons.pop(name, None)
        return reasons

    async def state(self, topics: Iterable[str]) -> ClusterState:
        """The brokers there are, and those of the topics that exist."""
        async with self._client() as client:
            node = client.get_random_node()
            request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
            answer = await client.send(node, request)
        found: dict[str, Mapping[int, Copies]] = {}
        for code, name, *_, partitions in answer.topics:
            kind = errors.for_code(code)
            if kind in _NOT_ALLOWED:
                raise Misconfigured(f"this user may not see topic {name}")
            if partitions:
                found[name] = {
                    number: Copies(leader, tuple(copies), tuple(in_sync))
                    for _, number, leader, copies, in_sync, *_ in partitions
                }
        return ClusterState(tuple(sorted(each[0] for each in answer.brokers)), found)

    async def topic_configuration(self, topic: str) -> Mapping[str, str]:
        """The topic's settings by Kafka's names, defaults included where the broker tells them."""
        return await self._configuration(ConfigResourceType.TOPIC, topic)

    async def broker_configuration(self, node: int) -> Mapping[str, str]:
        """The settings of one broker."""
        return await self._configuration(ConfigResourceType.BROKER, str(node))

    async def group(self) -> GroupState:
        """The consumer group of the settings; one that does not exist has no members."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_BETWEEN_LOOKS_S)
            async with self._client() as client:
                try:
                    return await _described(client, self.kafka.group_id)
                except errors.GroupCoordinatorNotAvailableError:
                    continue
        raise Retryable(f"no broker coordinates the consumer group {self.kafka.group_id} yet")

    async def _configuration(self, kind: ConfigResourceType, name: str) -> Mapping[str, str]:
        async with self._admin() as admin:
            answers = await admin.describe_configs([ConfigResource(kind, name)])
        found: dict[str, str] = {}
        for answer in answers:
            for code, message, _, _, entries in answer.resources:
                if code:
                    raise _translated(errors.for_code(code)(message or name))
                found |= {entry[0]: entry[1] for entry in entries if entry[1] is not None}
        return found

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AIOKafkaClient]:
        client = AIOKafkaClient(
            bootstrap_servers=self.kafka.bootstrap_servers, request_timeout_ms=_REQUEST_MS, **self.security
        )
        try:
            await client.bootstrap()
            yield client
        except (errors.KafkaError, OSError, TimeoutError) as error:
            raise _translated(error) from error
        finally:
            await client.close()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.kafka.bootstrap_servers, request_timeout_ms=_REQUEST_MS, **self.security
        )
        try:
            await admin.start()
            yield admin
        except (errors.KafkaError, OSError, TimeoutError) as error:
            raise _translated(error) from error
        finally:
            await admin.close()


async def _described(client: AIOKafkaClient, group: str) -> GroupState:
    """How many members it has, and whether one more may be this user.

    The heartbeat of a member that nobody knows changes nothing; where reading is not allowed, that is the answer.
    """
    found = await client.send(client.get_random_node(), FindCoordinatorRequest(group, 0))
    _require(found.error_code, group)
    answer = await client.send(found.coordinator_id, DescribeGroupsRequest([group]))
    [(code, _, _, _, _, members, *_)] = answer.groups
    _require(code, group)
    beat = await client.send(found.coordinator_id, HeartbeatRequest(group, -1, ""))
    refused = errors.for_code(beat.error_code) is errors.GroupAuthorizationFailedError
    return GroupState(len(members), may_read=not refused, reads=_reads(members))


def _reads(members: Iterable[Any]) -> Mapping[str, Sequence[Partition]]:
    """Who reads what; nothing of a member whose assignment is none of ours, or not made yet."""
    found: dict[str, list[Partition]] = {}
    for _, client, _, _, assigned in members:
        try:
            topics = ConsumerProtocolMemberAssignment.decode(assigned).assignment if assigned else ()
        except ValueError:  # what another kind of client has written there
            continue
        for topic, numbers in topics:
            found.setdefault(client, []).extend(Partition(topic, number) for number in numbers)
    return {client: sorted(some) for client, some in found.items()}


def _require(code: int, group: str) -> None:
    if (kind := errors.for_code(code)) is not errors.NoError:
        raise kind(group)


def _translated(error: Exception) -> WorkerError:
    if isinstance(error, _NOT_ALLOWED):
        return Misconfigured(in_words(error))
    if isinstance(error, _UNKNOWN_REQUEST):
        return Refused(in_words(error))
    return Retryable(f"no answer from Kafka: {in_words(error)}")
