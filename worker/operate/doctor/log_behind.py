"""The log ends before what the store holds of it: the topic was made anew, or Kafka restored from an older copy."""

from collections.abc import Mapping, Sequence

from worker.kafka.record import Partition
from worker.operate.doctor.finding import BOTH, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.durable_offsets import Held


def decide(ends: Mapping[Partition, int], held: Mapping[Partition, Held]) -> Sequence[Seen]:
    return [
        Seen(
            f"{partition.topic}/{partition.number}",
            f"MongoDB holds all below {each.durable:,}, and the log ends at {ends[partition]:,}",
        )
        for partition, each in sorted(held.items())
        if each.durable is not None and each.durable > ends[partition]
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    positions = await setup.kafka.positions()
    ends = {partition: positions.end(partition) for partition in positions.logs}
    return decide(ends, await setup.mongodb.held(ends))


LOG_BEHIND = Finding(
    name="log_behind",
    severity=Severity.WARNING,
    needs=BOTH,
    means="The topic was made anew, or Kafka was restored from a copy that is older than MongoDB's backup.",
    fix="Nothing is to be done where it was meant: ingest reads the new log from its begin. Else see docs/backup.md.",
    look=look,
)
