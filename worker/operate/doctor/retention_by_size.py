"""Kafka removes records by size: how long they are there depends on how many come."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


def decide(topic: str, most_bytes: int) -> Sequence[Seen]:
    if most_bytes < 0:
        return []
    return [Seen(topic, f"retention.bytes is {most_bytes:,}: a partition of more loses its oldest records")]


async def look(setup: Setup) -> Sequence[Seen]:
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        found += decide(topic, int(await setup.kafka.of_topic(topic, "retention.bytes")))
    return found


RETENTION_BY_SIZE = Finding(
    name="retention_by_size",
    severity=Severity.WARNING,
    needs=KAFKA,
    means="A topic is cut by size: a flood of records removes those that nobody has read.",
    fix="Run `sevenp-worker topic apply`, which sets retention.bytes of the topic to -1: retention.ms alone decides.",
    look=look,
)
