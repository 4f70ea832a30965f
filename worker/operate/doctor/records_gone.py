"""Kafka has removed records that the group had not read: they are lost."""

from collections.abc import Mapping, Sequence

from worker.kafka.positions import LogRange
from worker.kafka.record import Partition
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.words import counted


def decide(committed: Mapping[Partition, int], logs: Mapping[Partition, LogRange]) -> Sequence[Seen]:
    return [
        Seen(
            f"{partition.topic}/{partition.number}",
            f"{counted(logs[partition].begin - offset, 'record')} from {offset:,} on were removed before the group "
            "read them",
        )
        for partition, offset in sorted(committed.items())
        if partition in logs and offset < logs[partition].begin
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    positions = await setup.kafka.positions()
    return decide(positions.committed, positions.logs)


RECORDS_GONE = Finding(
    name="records_gone",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="Kafka has removed records before the group read them: ingest records a gap, and goes on behind it.",
    fix="Have the producers send them again, raise retention.ms, and start workers sooner.",
    look=look,
)
