"""Kafka removes records sooner than the longest outage ends: what was not read by then is lost."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.retention import NEVER, retention_of
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words
from worker.settings import variable


def decide(topic: str, kept: timedelta, longest_outage: timedelta, wanted_days: int) -> Sequence[Seen]:
    """`wanted_days` are what `topic apply` makes of it."""
    if kept == NEVER or kept >= longest_outage:
        return []
    needed_ms, needed_days = (
        int(longest_outage.total_seconds() * 1000),
        ceil(longest_outage / timedelta(days=1)),
    )
    raised = f"set {variable('topic_retention_days')} to {needed_days} or more, and run "
    apply = f"{raised if wanted_days < needed_days else 'run '}`sevenp-worker topic apply`"
    return [
        Seen(
            topic,
            f"records are kept for {in_words(kept)}, and the longest outage to survive is "
            f"{in_words(longest_outage)}",
            f"{apply[0].upper()}{apply[1:]}; or set retention.ms of {topic} to {needed_ms} or more "
            "(kafka-configs.sh --alter --add-config).",
        )
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        kept, wanted_days = await retention_of(setup, topic), setup.settings.topics.retention_days
        found += decide(topic, kept, setup.limits.longest_outage, wanted_days)
    return found


SHORT_RETENTION = Finding(
    name="short_retention",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="Kafka removes records sooner than the longest outage ends: what was not read by then is lost.",
    fix=f"Have {variable('topic_retention_days')} above the longest outage and the age of the oldest backup, and run "
    "`sevenp-worker topic apply`.",
    look=look,
)
