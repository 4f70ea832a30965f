"""Kafka removes records sooner than the longest outage ends: what was not read by then is lost."""

from collections.abc import Sequence
from datetime import timedelta

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.retention import NEVER, retention_of
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words


def decide(topic: str, kept: timedelta, longest_outage: timedelta) -> Sequence[Seen]:
    if kept == NEVER or kept >= longest_outage:
        return []
    needed_ms = int(longest_outage.total_seconds() * 1000)
    return [
        Seen(
            topic,
            f"records are kept for {in_words(kept)}, and the longest outage to survive is "
            f"{in_words(longest_outage)}",
            f"Set retention.ms of {topic} to {needed_ms} or more (kafka-configs.sh --alter --add-config).",
        )
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        found += decide(topic, await retention_of(setup, topic), setup.limits.longest_outage)
    return found


SHORT_RETENTION = Finding(
    name="short_retention",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="Kafka removes records sooner than the longest outage ends: what was not read by then is lost.",
    fix="Raise retention.ms of the topic above the longest outage, the time between two backups and a restore.",
    look=look,
)
