"""The store is far ahead of the group: Kafka's offsets were lost, reset, or restored from an older copy."""

from collections.abc import Mapping, Sequence

from worker.kafka.record import Partition
from worker.operate.doctor.finding import BOTH, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import StartPolicy, variable
from worker.storage.durable_offsets import Held

# `durable` is written before the group is told: with two batches in flight so many are ahead in ordinary work.
_BATCHES_AHEAD = 2


def decide(
    committed: Mapping[Partition, int], held: Mapping[Partition, Held], policy: StartPolicy, batch: int
) -> Sequence[Seen]:
    """A group without offsets begins where the policy says, whatever the store holds."""
    found = []
    for partition, each in sorted(held.items()):
        durable, offset = each.durable or 0, committed.get(partition)
        subject = f"{partition.topic}/{partition.number}"
        if offset is None and durable > 0:
            then = "skips what came since" if policy is StartPolicy.LATEST else "reads all of the log again"
            words = f"MongoDB holds all below {durable:,}, the group has no offset: it {then}"
            found.append(Seen(subject, words))
        elif offset is not None and durable - offset > _BATCHES_AHEAD * batch:
            words = f"MongoDB holds all below {durable:,}, the group stands at {offset:,}"
            found.append(Seen(subject, words))
    return found


async def look(setup: Setup) -> Sequence[Seen]:
    positions, ingest = await setup.kafka.positions(), setup.settings.ingest
    held = await setup.mongodb.held(positions.logs)
    return decide(positions.committed, held, ingest.start_policy, ingest.max_records)


GROUP_BEHIND = Finding(
    name="group_behind",
    severity=Severity.WARNING,
    needs=BOTH,
    means="The durable offset is far ahead of the group's: Kafka's offsets were lost or reset. Duplicates cost time.",
    fix=f"Let it read: nothing is stored twice. A group without offsets needs {variable('start_policy')}=earliest.",
    look=look,
)
