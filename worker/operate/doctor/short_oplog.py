"""The oplog does not reach back as far as the longest outage: watchers then have to compare everything."""

from collections.abc import Sequence
from datetime import timedelta

from worker.operate.capacity.oplog import Oplog
from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words


def decide(oplog: Oplog, longest_outage: timedelta) -> Sequence[Seen]:
    if oplog.window_s >= longest_outage.total_seconds():
        return []
    needed_mib = oplog.limit_bytes / 2**20 * longest_outage.total_seconds() / max(oplog.window_s, 1.0)
    return [
        Seen(
            "oplog",
            f"{oplog.words}; the longest outage to survive is {in_words(longest_outage)}",
            f"Make it larger, on each member: db.adminCommand({{replSetResizeOplog: 1, size: {needed_mib:.0f}}}) "
            "(MiB, by the rate until now).",
        )
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.oplog(), setup.limits.longest_outage)


SHORT_OPLOG = Finding(
    name="short_oplog",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="After the longest outage the watchers cannot go on where they were, and compare every document.",
    fix="Make the oplog larger with replSetResizeOplog, or have it kept for some hours at least.",
    look=look,
)
