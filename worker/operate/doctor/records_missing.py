"""The group has read records that the store does not hold: a backup was restored, or somebody moved the group."""

from collections.abc import Mapping, Sequence

from worker.kafka.record import Partition
from worker.operate.doctor.finding import BOTH, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.durable_offsets import Held, missing_below
from worker.words import counted


def decide(committed: Mapping[Partition, int], held: Mapping[Partition, Held]) -> Sequence[Seen]:
    """As `reingest --missing` finds them, and `kafka_missing_records` counts them."""
    found = []
    for partition, offset in sorted(committed.items()):
        for each in missing_below(held.get(partition), offset):
            if each.records > 0:
                words = (
                    f"{counted(each.records, 'record')} from {each.first_offset:,} to {each.last_offset:,} "
                    "were read by the group and are not in MongoDB"
                )
                found.append(Seen(f"{partition.topic}/{partition.number}", words))
    return found


async def look(setup: Setup) -> Sequence[Seen]:
    positions = await setup.kafka.positions()
    return decide(positions.committed, await setup.mongodb.held(positions.committed))


RECORDS_MISSING = Finding(
    name="records_missing",
    severity=Severity.ERROR,
    needs=BOTH,
    means="MongoDB was restored from a backup: the durable offset is behind what the group has committed.",
    fix="Run `sevenp-worker reingest --missing`, which brings back what Kafka still has (docs/backup.md).",
    look=look,
)
