"""Copies of a partition are behind, or nobody leads it."""

from collections.abc import Mapping, Sequence

from worker.kafka.cluster import Copies
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


def decide(topic: str, partitions: Mapping[int, Copies]) -> Sequence[Seen]:
    found = []
    for number, copies in sorted(partitions.items()):
        if copies.leader < 0:
            found.append(
                Seen(f"{topic}/{number}", "the partition has no leader: nobody can read or write it")
            )
        elif behind := sorted(set(copies.all) - set(copies.in_sync)):
            named = ", ".join(map(str, behind))
            words = f"{len(copies.in_sync)} of {len(copies.all)} copies are up to date (not: broker {named})"
            found.append(Seen(f"{topic}/{number}", words))
    return found


async def look(setup: Setup) -> Sequence[Seen]:
    state = await setup.kafka.state()
    return [seen for topic, partitions in state.topics.items() for seen in decide(topic, partitions)]


UNDER_REPLICATED = Finding(
    name="under_replicated",
    severity=Severity.WARNING,
    needs=KAFKA,
    means="Copies of a partition are behind, or nobody leads it: a broker is away or cannot keep up.",
    fix="Start the broker that is named, and look into its log.",
    look=look,
)
