"""Makes topics, and gives them more partitions and settings. Nothing is deleted or shrunk."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from worker.errors import Misconfigured, Refused, Retryable, WorkerError
from worker.settings import KafkaSettings
from worker.words import in_words

_REQUEST_MS = 20_000  # a cluster may take some seconds to make hundreds of partitions
_NOT_ALLOWED = (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError)
_AWAY = (
    errors.KafkaConnectionError,
    errors.NodeNotReadyError,
    errors.RequestTimedOutError,
    errors.KafkaTimeoutError,
)
# Of a setting: it was set for this topic. Everything else is a default of some kind.
_OF_THE_TOPIC = 1


@dataclass(frozen=True, slots=True)
class TopicAdministration:
    """Changes topics on the brokers of the settings. Each change may be made twice.

    Raises `Retryable` without an answer, `Misconfigured` where this user is not allowed to, and `Refused` with the
    broker's reason for anything else.
    """

    kafka: KafkaSettings
    security: Mapping[str, Any]

    async def create(
        self, topic: str, partitions: int, copies: int, configuration: Mapping[str, str]
    ) -> None:
        """Make a topic; one that stands by now is left as it is."""
        made = NewTopic(topic, partitions, copies, topic_configs=dict(configuration))
        async with self._admin(topic) as admin:
            answer = await admin.create_topics([made])
            for _, code, *reason in answer.topic_errors:
                if code and code != errors.TopicAlreadyExistsError.errno:
                    raise errors.for_code(code)(*filter(None, reason[:1]))

    async def extend(self, topic: str, partitions: int) -> None:
        """Give a topic so many partitions in all; the broker refuses fewer than there are."""
        async with self._admin(topic) as admin:
            await admin.create_partitions({topic: NewPartitions(partitions)})

    async def configure(self, topic: str, configuration: Mapping[str, str]) -> None:
        """Set some settings of a topic, and keep all others that were set for it.

        The broker takes a whole list in place of the one it has: that one is read first.
        """
        async with self._admin(topic) as admin:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic)
            own: dict[str, str] = {}
            for answer in await admin.describe_configs([resource]):
                for code, _, _, _, entries in answer.resources:
                    if code:
                        raise errors.for_code(code)(topic)
                    own |= {name: value for name, value, _, source, *_ in entries if _is_own(source)}
            wanted = ConfigResource(ConfigResourceType.TOPIC, topic, configs={**own, **configuration})
            for answer in await admin.alter_configs([wanted]):
                for code, reason, *_ in answer.resources:
                    if code:
                        raise errors.for_code(code)(reason or topic)

    @asynccontextmanager
    async def _admin(self, topic: str) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.kafka.bootstrap_servers, request_timeout_ms=_REQUEST_MS, **self.security
        )
        try:
            await admin.start()
            yield admin
        except (errors.KafkaError, OSError, TimeoutError) as error:
            raise _translated(topic, error) from error
        finally:
            await admin.close()


def _is_own(source: int | bool) -> bool:
    """Whether a setting was set for the topic; the oldest brokers say only whether it is a default."""
    return not source if isinstance(source, bool) else source == _OF_THE_TOPIC


def _translated(topic: str, error: Exception) -> WorkerError:
    if isinstance(error, _NOT_ALLOWED):
        return Misconfigured(in_words(error))
    if isinstance(error, (*_AWAY, OSError, TimeoutError)):
        return Retryable(f"no answer from Kafka: {in_words(error)}")
    reason = next((each for each in error.args if isinstance(each, str) and each), "")
    return Refused(f"the brokers refuse the change of {topic}: {in_words(error)}{reason and f' ({reason})'}")
