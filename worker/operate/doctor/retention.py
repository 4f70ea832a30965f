"""For how long a topic keeps its records: findings share this."""

from datetime import timedelta

from worker.errors import Refused
from worker.operate.asking import NotTold
from worker.operate.doctor.setup import Setup

NEVER = timedelta.max
"""Records are not removed by age."""


async def retention_of(setup: Setup, topic: str) -> timedelta:
    """`retention.ms` of the topic, `NEVER` for -1. Raises NotTold where the broker does not say."""
    try:
        milliseconds = int(await setup.kafka.of_topic(topic, "retention.ms"))
    except Refused as error:
        raise NotTold(f"the broker does not tell how long topic {topic} keeps its records") from error
    return NEVER if milliseconds < 0 else timedelta(milliseconds=min(milliseconds, 10**15))
