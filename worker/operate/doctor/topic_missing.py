"""A topic that the worker reads, or sends notifications to, does not exist."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable
from worker.settings.ingest import OFF, topic_variables

# It makes the topics that the worker reads, and not that of notifications, which is somebody else's.
_BY_APPLY = "Run `sevenp-worker topic apply`. "


async def look(setup: Setup) -> Sequence[Seen]:
    topics = (await setup.kafka.state()).topics
    first = setup.settings.kafka.bootstrap_servers.partition(",")[0]
    named = {topic: name for name, topic in topic_variables(setup.settings.ingest.topics).items()}
    return [
        Seen(
            topic,
            f"the topic {topic} does not exist",
            f"{_BY_APPLY if topic in setup.kafka.read else ''}Create it, for example: kafka-topics.sh --create "
            f"--topic {topic} --partitions 16 --bootstrap-server {first}; or {_instead(named.get(topic))}.",
        )
        for topic in setup.kafka.topics
        if topic not in topics
    ]


def _instead(name: str | None) -> str:
    """What may be wrong with the settings instead: only the learners' topic is always read."""
    if name is None or name == variable("topic"):
        return f"look at {name or variable('notify_kafka_topic')}"
    return f"set {name} to {OFF}, if nothing of the kind will ever come"


TOPIC_MISSING = Finding(
    name="topic_missing",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="A topic that the worker reads, or sends notifications to, does not exist: it creates none by itself.",
    fix="Run `sevenp-worker topic apply` (kafka-topics.sh for that of notifications), or correct the setting.",
    look=look,
)
