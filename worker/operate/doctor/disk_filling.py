"""At the rate of late the disk of MongoDB is full within weeks."""

from collections.abc import Sequence
from datetime import timedelta

from worker.operate.capacity.measure import Measured
from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words

_GIB = 2**30


def decide(measured: Measured, full_within: timedelta) -> Sequence[Seen]:
    """Where no rate is known nothing is foretold."""
    growth, free = measured.growth, measured.free_bytes
    if free is None:
        return []
    days = growth.days_until(free)
    if days >= full_within.total_seconds() / 86_400:
        return []
    words = (
        f"{free / _GIB:,.1f} GiB are free, and the store grows by {growth.bytes_per_day / _GIB:,.2f} GiB a day "
        f"({growth.per_day:,.0f} events): full in {in_words(timedelta(days=days))}"
    )
    return [Seen("mongodb", words)]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.measured(), setup.limits.full_within)


DISK_FILLING = Finding(
    name="disk_filling",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="At the rate of late the disk of MongoDB is full within 30 days.",
    fix="Make the disk larger, or let the time series expire; `sevenp-worker capacity` has the figures.",
    look=look,
)
