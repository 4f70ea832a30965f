"""The clocks of this machine and of MongoDB do not agree."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words
from worker.storage.database import CODEC_OPTIONS
from worker.storage.errors import translated

# A machine that keeps its clock by the network is within milliseconds.
_TOLERATED = timedelta(seconds=2)


def decide(asked: datetime, server: datetime, answered: datetime) -> Sequence[Seen]:
    """The server read its clock between the two times of ours; what lies outside of them is skew."""
    if server > answered + _TOLERATED:
        return [Seen("mongodb", f"its clock is {in_words(server - answered)} ahead of this machine's")]
    if server < asked - _TOLERATED:
        return [Seen("mongodb", f"its clock is {in_words(asked - server)} behind this machine's")]
    return []


async def look(setup: Setup) -> Sequence[Seen]:
    asked = setup.clock.now()
    with translated():
        hello = await setup.database.client.admin.command("hello", codec_options=CODEC_OPTIONS)
    return decide(asked, hello["localTime"], setup.clock.now())


CLOCK_SKEW = Finding(
    name="clock_skew",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="The clocks of this machine and of MongoDB differ: ages, lags, schedules and dates of events are wrong.",
    fix="Have both machines keep their clocks by the network (chrony, ntpd); leases go by MongoDB's own.",
    look=look,
)
