"""Kafka forgets where the group stands sooner than the longest outage ends."""

from collections.abc import Sequence
from datetime import timedelta

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words
from worker.settings import StartPolicy


def decide(kept: timedelta, longest_outage: timedelta, policy: StartPolicy) -> Sequence[Seen]:
    """Counted from the time at which the last member of the group has left."""
    if kept >= longest_outage:
        return []
    then = "skips what is in the log" if policy is StartPolicy.LATEST else "reads the whole log again"
    words = (
        f"offsets.retention.minutes keeps them for {in_words(kept)}, the longest outage to survive is "
        f"{in_words(longest_outage)}: a group without offsets {then}"
    )
    return [Seen("kafka", words)]


async def look(setup: Setup) -> Sequence[Seen]:
    kept = timedelta(minutes=int(await setup.kafka.of_broker("offsets.retention.minutes")))
    return decide(kept, setup.limits.longest_outage, setup.settings.ingest.start_policy)


OFFSETS_EXPIRE = Finding(
    name="offsets_expire",
    severity=Severity.WARNING,
    needs=KAFKA,
    means="Kafka forgets where the group stands sooner than the longest outage ends.",
    fix="Raise offsets.retention.minutes of the brokers above the longest outage.",
    look=look,
)
