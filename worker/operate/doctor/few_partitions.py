"""A topic has so few partitions that workers stand idle, or a second one would."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable
from worker.words import counted


def decide(topic: str, partitions: int, members: int) -> Sequence[Seen]:
    """Each partition is read by one member of the group."""
    if partitions > 1 and partitions >= members:
        return []
    beside = (
        f", and the group has {counted(members, 'member')}: {members - partitions} of them read nothing of it"
    )
    words = f"the topic has {counted(partitions, 'partition')}{beside if members > partitions else ''}"
    return [Seen(topic, words)]


async def look(setup: Setup) -> Sequence[Seen]:
    state, group = await setup.kafka.state(), await setup.kafka.group()
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        found += decide(topic, len(state.topics[topic]), group.members)
    return found


FEW_PARTITIONS = Finding(
    name="few_partitions",
    severity=Severity.ADVICE,
    needs=KAFKA,
    means="A partition is read by one worker: with fewer partitions than workers some read nothing of the topic.",
    fix=f"Raise {variable('topic_partitions')} and run `sevenp-worker topic apply` (or kafka-topics.sh --alter "
    "--partitions N): the worker reads added ones from their begin.",
    look=look,
)
