"""Kafka keeps only the newest record of each key: all earlier events of a learner vanish."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


def decide(topic: str, policy: str) -> Sequence[Seen]:
    if "compact" not in policy.split(","):
        return []
    return [
        Seen(topic, f"cleanup.policy is {policy}: of a learner in a course the newest record alone stays")
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        found += decide(topic, await setup.kafka.of_topic(topic, "cleanup.policy"))
    return found


COMPACTED_TOPIC = Finding(
    name="compacted_topic",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="A topic of events is compacted: events of the same key vanish, and nothing can be read again.",
    fix="Set cleanup.policy of the topic to delete (kafka-configs.sh --alter --add-config cleanup.policy=delete).",
    look=look,
)
