"""Kafka keeps records for longer than the oplog reaches back: an outage in between costs a comparison."""

from collections.abc import Sequence
from datetime import timedelta

from worker.operate.capacity.oplog import Oplog
from worker.operate.doctor.finding import BOTH, Finding, Seen, Severity
from worker.operate.doctor.retention import NEVER, retention_of
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words


def decide(topic: str, oplog: Oplog, kept: timedelta) -> Sequence[Seen]:
    """Of a topic that keeps everything there is nothing to compare with."""
    if kept == NEVER or oplog.window_s >= kept.total_seconds():
        return []
    words = f"the topic keeps records for {in_words(kept)}, and {oplog.words}"
    return [Seen(topic, words)]


async def look(setup: Setup) -> Sequence[Seen]:
    oplog = await setup.mongodb.oplog()
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        found += decide(topic, oplog, await retention_of(setup, topic))
    return found


OPLOG_BELOW_RETENTION = Finding(
    name="oplog_below_retention",
    severity=Severity.ADVICE,
    needs=BOTH,
    means="After an outage that Kafka survives and the oplog does not, nothing is lost, but everything is compared.",
    fix="Make the oplog reach back as far as Kafka's retention (replSetResizeOplog), where the disk allows it.",
    look=look,
)
