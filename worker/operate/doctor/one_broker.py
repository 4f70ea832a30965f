"""The loss of one machine stops Kafka, or takes what was not read yet."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


def decide(brokers: Sequence[int]) -> Sequence[Seen]:
    return [Seen("kafka", "the cluster has one broker")] if len(brokers) == 1 else []


async def look(setup: Setup) -> Sequence[Seen]:
    return decide((await setup.kafka.state()).brokers)


ONE_BROKER = Finding(
    name="one_broker",
    severity=Severity.ADVICE,
    needs=KAFKA,
    means="The cluster has one broker: its loss stops all reading, and takes what was not read yet.",
    fix="Run three brokers, and keep three copies of every topic.",
    look=look,
)
