"""A topic takes batches that are larger than what the worker has in hand at once."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


def decide(topic: str, largest_bytes: int, hand_bytes: int) -> Sequence[Seen]:
    if largest_bytes <= hand_bytes:
        return []
    words = (
        f"max.message.bytes is {largest_bytes:,}, and the worker has {hand_bytes:,} bytes in hand at most: an event "
        "that MongoDB cannot take becomes a dead letter"
    )
    return [Seen(topic, words)]


async def look(setup: Setup) -> Sequence[Seen]:
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        largest_bytes = int(await setup.kafka.of_topic(topic, "max.message.bytes"))
        found += decide(topic, largest_bytes, setup.settings.ingest.max_bytes)
    return found


LARGE_RECORDS = Finding(
    name="large_records",
    severity=Severity.ADVICE,
    needs=KAFKA,
    means="A topic takes larger batches than the worker has in hand: MongoDB takes no event above 16 MB.",
    fix=f"Lower max.message.bytes of the topic to {variable('ingest_max_bytes')} or less.",
    look=look,
)
