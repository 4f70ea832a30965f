"""The topics of the settings, looked at and changed: what operators' parts decide, on the brokers of the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.app.dependencies import kafka_probe, require_answers
from worker.contract.routes import routes
from worker.errors import Refused
from worker.kafka.cluster import Brokers
from worker.kafka.security import kafka_options
from worker.kafka.topics import TopicAdministration
from worker.operate.topics import FoundTopic, TopicChange, TopicDifference, change_for, differences
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class TopicsLook:
    """What is not as it is to be, and of which topics the broker does not describe the settings, and why."""

    differences: Sequence[TopicDifference]
    undescribed: dict[str, str]


async def look_at_topics(settings: Settings) -> TopicsLook:
    """Hold every topic the worker reads against the settings. Raises `Unreachable` in the words of `run`."""
    options = kafka_options(settings.kafka)
    await require_answers([kafka_probe(settings.kafka.bootstrap_servers, (), options)])
    brokers, topics = Brokers(settings.kafka, options), tuple(routes(settings.ingest.topics))
    there = (await brokers.state(topics)).topics
    told: list[TopicDifference] = []
    undescribed: dict[str, str] = {}
    for topic in topics:
        found: FoundTopic | None = None
        if (partitions := there.get(topic)) is not None:
            configuration, why = await _configuration(brokers, topic)
            if not configuration:
                undescribed[topic] = why
            copies = min(len(each.all) for each in partitions.values())
            found = FoundTopic(len(partitions), copies, configuration or None)
        told += differences(topic, settings.topics, found)
    return TopicsLook(told, undescribed)


async def _configuration(brokers: Brokers, topic: str) -> tuple[Mapping[str, str], str]:
    """What the broker tells of the topic's settings, and why where that is nothing."""
    try:
        return await brokers.topic_configuration(topic), "it names none"
    except Refused as error:
        return {}, str(error)


def changes_for(settings: Settings, look: TopicsLook) -> list[TopicChange]:
    """What `topic apply` does about it."""
    topics = dict.fromkeys(each.topic for each in look.differences)
    found = {topic: [each for each in look.differences if each.topic == topic] for topic in topics}
    changes = [change_for(topic, settings.topics, some) for topic, some in found.items()]
    return [each for each in changes if each is not None]


async def apply_changes(settings: Settings, changes: Sequence[TopicChange]) -> None:
    """Make the changes, each of which may be made twice. Raises `Refused` with the brokers' reason."""
    administration = TopicAdministration(settings.kafka, kafka_options(settings.kafka))
    for each in changes:
        if each.create:
            copies, partitions = settings.topics.replication, each.partitions or settings.topics.partitions
            await administration.create(each.topic, partitions, copies, each.configuration)
            continue
        if each.partitions is not None:
            await administration.extend(each.topic, each.partitions)
        if each.configuration:
            await administration.configure(each.topic, each.configuration)
