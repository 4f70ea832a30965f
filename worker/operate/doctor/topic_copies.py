"""A topic has fewer copies than the cluster could keep, or one copy is enough to acknowledge a record."""

from collections.abc import Mapping, Sequence

from worker.kafka.cluster import Copies
from worker.operate.asking import NotTold
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.words import counted

_ENOUGH = 3


def decide(topic: str, partitions: Mapping[int, Copies], brokers: int, in_sync: int | None) -> Sequence[Seen]:
    """`in_sync` is `min.insync.replicas`, None where the broker does not tell."""
    fewest = min(len(each.all) for each in partitions.values())
    wanted = min(_ENOUGH, brokers)
    found = []
    if fewest < wanted:
        words = f"a partition has {counted(fewest, 'copy', 'copies')} on {counted(brokers, 'broker')}"
        found.append(
            Seen(topic, words, f"Raise the number of copies to {wanted} (kafka-reassign-partitions.sh).")
        )
    if fewest > 1 and in_sync is not None and in_sync < min(2, wanted):
        words = f"min.insync.replicas is {in_sync}: a record is acknowledged that one broker has"
        found.append(Seen(topic, words, "Set min.insync.replicas of the topic to 2."))
    return found


async def look(setup: Setup) -> Sequence[Seen]:
    state = await setup.kafka.state()
    found: list[Seen] = []
    for topic, partitions in state.topics.items():
        try:
            in_sync = int(await setup.kafka.of_topic(topic, "min.insync.replicas"))
        except NotTold:
            in_sync = None
        found += decide(topic, partitions, len(state.brokers), in_sync)
    return found


TOPIC_COPIES = Finding(
    name="topic_copies",
    severity=Severity.WARNING,
    needs=KAFKA,
    means="A topic has fewer copies than the cluster could keep: the loss of one broker stops or loses records.",
    fix="Keep three copies of every partition (kafka-reassign-partitions.sh), with min.insync.replicas=2.",
    look=look,
)
