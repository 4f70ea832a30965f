"""The newest records are of a time that has not come: a producer's, or a broker's, clock is ahead.

Kafka's protocol does not tell a broker's time. What it stamped, or let producers stamp, is all there is to see.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from worker.kafka.record import Partition
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words

_TOLERATED = timedelta(seconds=5)


def decide(newest: Mapping[Partition, datetime], now: datetime) -> Sequence[Seen]:
    return [
        Seen(
            f"{partition.topic}/{partition.number}",
            f"its newest record is stamped {in_words(at - now)} ahead of this machine's clock",
        )
        for partition, at in sorted(newest.items())
        if at > now + _TOLERATED
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide((await setup.kafka.positions()).newest, setup.clock.now())


RECORDS_FROM_THE_FUTURE = Finding(
    name="records_from_the_future",
    severity=Severity.WARNING,
    needs=KAFKA,
    means="A producer's clock, or a broker's, is ahead of this machine's: Kafka does not tell which.",
    fix="Have all machines keep their clocks by the network (chrony, ntpd).",
    look=look,
)
