"""A topic that the worker reads, or sends notifications to, does not exist."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable

# It makes the topics that the worker reads, and not that of notifications, which is somebody else's.
_BY_APPLY = "Run `sevenp-worker topic apply`. "


async def look(setup: Setup) -> Sequence[Seen]:
    topics = (await setup.kafka.state()).topics
    first = setup.settings.kafka.bootstrap_servers.partition(",")[0]
    return [
        Seen(
            topic,
            f"the topic {topic} does not exist",
            f"{_BY_APPLY if topic in setup.kafka.read else ''}Create it, for example: kafka-topics.sh --create "
            f"--topic {topic} --partitions 16 --bootstrap-server {first}; or look at {variable('topic')}.",
        )
        for topic in setup.kafka.topics
        if topic not in topics
    ]


TOPIC_MISSING = Finding(
    name="topic_missing",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="A topic that the worker reads, or sends notifications to, does not exist: it creates none by itself.",
    fix="Run `sevenp-worker topic apply` (kafka-topics.sh for that of notifications), or correct the setting.",
    look=look,
)
