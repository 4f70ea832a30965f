"""A topic that the worker reads, or sends notifications to, does not exist."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


async def look(setup: Setup) -> Sequence[Seen]:
    topics = (await setup.kafka.state()).topics
    first = setup.settings.kafka.bootstrap_servers.partition(",")[0]
    return [
        Seen(
            topic,
            f"the topic {topic} does not exist",
            f"Create it, for example: kafka-topics.sh --create --topic {topic} --partitions 16 "
            f"--bootstrap-server {first}; or look at {variable('topic')}.",
        )
        for topic in setup.kafka.topics
        if topic not in topics
    ]


TOPIC_MISSING = Finding(
    name="topic_missing",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="A topic that the worker reads, or sends notifications to, does not exist: it creates none by itself.",
    fix="Create it with kafka-topics.sh, or correct the setting that names it.",
    look=look,
)
